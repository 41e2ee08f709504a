"""The public page of a receipt: what became of a payment, for whoever holds the paper it was printed on."""
