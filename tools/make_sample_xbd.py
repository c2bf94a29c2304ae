#!/usr/bin/env python
"""Writes an xBD root of made-up scenes that need no licence; see datasets/README.md."""

from skyeye_det.commands.launch import run

if __name__ == "__main__":
    run("make_sample_xbd")
