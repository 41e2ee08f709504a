"""The commands of `tapscan-gateway` that change or show what is stored; they work beside a running gateway.

session.py    opens the store for one command
output.py     one record or a table, for people or as JSON
merchants.py  merchant, location, terminal
holders.py    wallet, instrument, card-keys
"""
