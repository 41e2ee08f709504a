"""NTAG 424 DNA cards: the one-time links they show and the keys behind them."""
