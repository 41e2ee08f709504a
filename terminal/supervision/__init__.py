"""One owner thread per device: open, wait, read, hand over, heal, report health."""
