"""Networks without sockets, between clients and a gateway of one process."""
