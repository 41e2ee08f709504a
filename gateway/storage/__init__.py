"""Where the gateway keeps what must survive: the Store contract, kept by SQLite, by PostgreSQL and over a link."""
