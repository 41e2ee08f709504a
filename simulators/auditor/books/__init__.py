"""The gateway's database as rows, and what could not stand in it."""
