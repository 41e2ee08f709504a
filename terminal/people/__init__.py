"""The people at this till: who may sign in, who has, what they may do, and the shifts they work."""
