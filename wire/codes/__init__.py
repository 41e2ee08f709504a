"""Codes that cameras and scanners read: base45, EMVCo containers, numeric payment codes."""
