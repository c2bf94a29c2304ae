#!/usr/bin/env python
"""Assesses a scene: images before and after a disaster become one record a building, for a GIS."""

from skyeye_det.commands.launch import run

if __name__ == "__main__":
    run("assess")
