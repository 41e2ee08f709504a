"""Handheld code scanners: devices that type what they read into a serial line."""
