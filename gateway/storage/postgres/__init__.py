"""The shared store: one PostgreSQL database for any number of gateways.

schema.sql      the whole schema, to be read; equal to all migrations applied (a test says so)
migrations/     numbered, applied in order, each in its own transaction, under a lock
queries/        named queries; SQL stays SQL
database.py     connections, how long is waited for what, and the one place where asyncpg's errors become ours
queries.py      reads the named queries
migrate.py      brings a database up to date
directory.py    merchants, terminals, wallets, instruments, codes
facts.py        what a batch names, read in one call
changes.py      what a batch changes, as rows for the server
booking.py      a batch, read, decided and written; decided anew when it was overtaken
batches.py      the queue before it, and group commit
audit_source.py the books as an auditor reads them
store.py        PostgresStore, which keeps the Store contract with all of these
"""
