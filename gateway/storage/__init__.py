"""Where the gateway keeps what must survive: the Store contract, and who keeps it (SQLite, PostgreSQL)."""
