"""The ledger: double entry, append-only, two-phase; values and pure rules, no database.

model.py     accounts with four counters, transfers, linked groups
outcomes.py  what booking a transfer can answer, numbered, by precedence
rules.py     the judgements, as pure functions over what a store read
chain.py     the hash chain over booked groups, byte by byte
book.py      the contract a store keeps
"""
