"""Made-up xBD scenes: an xBD root that needs no licence, the same to the byte for the same seed."""
