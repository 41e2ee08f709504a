"""The code a merchant shows: EMVCo merchant-presented mode, in layers.

tlv.py       data objects: two digits of id, two of length in characters, a value
crc16.py     the checksum at the end
standard.py  what any EMVCo code must hold, and its fields by name
profile.py   ours: an account template with a link to the intent
"""
