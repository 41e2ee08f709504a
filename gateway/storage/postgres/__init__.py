"""The shared store: one PostgreSQL database for any number of gateways.

schema.sql   the whole schema, to be read; equal to all migrations applied (a test says so)
migrations/  numbered, applied in order, each in its own transaction, under a lock
queries/     named queries; SQL stays SQL
database.py  connections, and the one place where asyncpg's errors become ours
queries.py   reads the named queries
migrate.py   brings a database up to date
directory.py merchants, terminals, wallets, instruments, codes
store.py     PostgresStore, which keeps the Store contract with all of these
"""
