"""Who pays: wallets and the instruments (phone keys, cards, payment codes) that spend from them."""
