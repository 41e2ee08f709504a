"""Cards at this till: carried between gateway and reader, without a key of theirs ever being here."""
