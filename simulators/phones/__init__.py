"""A wallet on a phone: one key, tokens to show, and an application to tap."""
