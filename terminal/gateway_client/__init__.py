"""The terminal's side of the gateway's HTTP interface: signed, bounded, and never sure too early."""
