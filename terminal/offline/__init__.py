"""Payments accepted while the gateway can't be asked: by which rules, kept where, and handed in when."""
