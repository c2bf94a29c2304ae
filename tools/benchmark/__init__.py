"""Measurements of the speed and memory of the package, each against a floor on the same files in one run."""
