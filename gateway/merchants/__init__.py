"""Who sells: merchants, their locations, the terminals at their counters, and how a terminal enrols."""
