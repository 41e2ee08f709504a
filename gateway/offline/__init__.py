"""Payments that terminals accepted without a connection: credentials, and what becomes of sealed records."""
