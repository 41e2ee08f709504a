"""Software cards that obey the chips' rules; what carries their frames is in simulators/fields/."""
