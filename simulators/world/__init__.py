"""A process full of simulated devices and of what people carry, told what to do over HTTP on loopback."""
