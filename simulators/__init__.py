"""Parts of a fake world that speak the devices' own protocols: cards, phones, screens, scanners."""
