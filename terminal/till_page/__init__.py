"""The till's own pages: who gets in, what is served, what a customer's display may know."""
