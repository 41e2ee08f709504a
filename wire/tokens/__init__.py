"""Payment tokens: COSE_Sign1 over CBOR claims, in one strict profile (protocol sections 0, 1 and 3a)."""
