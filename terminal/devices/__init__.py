"""A device of a till: from its path in terminal.toml to the driver that serves it."""
