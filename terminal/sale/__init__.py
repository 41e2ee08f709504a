"""Sales at this till: the table of states, one sale's session, the desk that holds them all."""
