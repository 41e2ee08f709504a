"""The commands of `tapscan-terminal`: how they ask the running daemon, and what they show."""
