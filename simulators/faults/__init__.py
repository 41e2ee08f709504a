"""What goes wrong in a simulated world, as data, and the dice that decide when."""
