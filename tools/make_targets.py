#!/usr/bin/env python
"""Writes the target PNGs that splits of an xBD root come without, or compares those that exist."""

from skyeye_det.commands.launch import run

if __name__ == "__main__":
    run("make_targets")
