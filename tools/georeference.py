#!/usr/bin/env python
"""Writes xBD tiles as GeoTIFFs and their labels as a GeoPackage."""

from skyeye_det.commands.launch import run

if __name__ == "__main__":
    run("georeference")
