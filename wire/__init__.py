"""The contract that terminals, the gateway and wallets speak: pure values and codecs, no I/O, no clock."""
