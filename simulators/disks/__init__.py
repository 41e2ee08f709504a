"""Disks in memory that obey a disk's rules."""
