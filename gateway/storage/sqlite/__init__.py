"""The embedded store: one SQLite file, one writer thread with group commit, readers beside it.

schema.sql   the whole schema, to be read; equal to all migrations applied (a test says so)
migrations/  numbered, applied in order, each in its own transaction
queries/     named queries; SQL stays SQL
database.py  connections, and the one place where sqlite3's errors become ours
queries.py   reads the named queries
migrate.py   brings a file up to date
writer.py    the writer thread and its bounded queue
readers.py   the reading threads
ledger.py    accounts and groups
payments.py  one attempt, decided and booked
directory.py merchants, terminals, wallets, instruments, codes
store.py     SqliteStore, which keeps the Store contract with all of these
"""
