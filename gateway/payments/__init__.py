"""A payment from request to answer: verify what was presented, then book everything at once."""
