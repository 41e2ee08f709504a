"""What the gateway has to do, written a second time: the ledger, payments, and what happens to them later."""
