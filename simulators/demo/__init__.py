"""The demo: real processes of the product, a simulated world, and shoppers with a script."""
