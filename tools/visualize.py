#!/usr/bin/env python
"""Draws scenes as pre | post | truth | prediction: a PNG each, a contact sheet, a page to open from disk."""

from skyeye_det.commands.launch import run

if __name__ == "__main__":
    run("visualize")
