"""The same for payments that tills accepted without a connection."""
