"""Card readers: from a reader's path in the configuration to what a card presented."""
