"""The competition's files: names, PNGs, targets, folder checks, official score."""
