"""A rehearsal: a gateway, tills, and people in states of their own, so that every answer can be had."""
