"""Between clients and a gateway: a network without sockets inside one process, and a line over real ones."""
