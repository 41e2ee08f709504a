"""The daemon's HTTP interface for till software, on loopback: sales, events, receipts, readers."""
