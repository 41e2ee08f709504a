"""What cards and terminals say to each other: APDUs, the payment application, NTAG 424 DNA links."""
