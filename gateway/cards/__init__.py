"""Cards of the merchant's own, made, proven, mended and wiped through a terminal that never sees a key."""
