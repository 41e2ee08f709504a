"""The daemon at a till: readers and scanners in, signed payment attempts out."""
