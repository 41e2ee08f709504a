"""Where the gateway keeps what must survive: the Store contract and its SQLite implementation."""
