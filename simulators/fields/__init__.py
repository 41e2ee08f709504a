"""Radio fields that carry a simulated card's frames to a real driver: UDP radio, PN532, vpcd slot."""
