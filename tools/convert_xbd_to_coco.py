#!/usr/bin/env python
"""Converts splits of an xBD root, or new splits of its tiles, to COCO files; see datasets/README.md."""

from skyeye_det.commands.launch import run

if __name__ == "__main__":
    run("convert_xbd_to_coco")
