"""Code scanners: cameras and handheld scanners, from a path to the text of a code."""
