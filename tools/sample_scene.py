#!/usr/bin/env python
"""Draws a made-up georeferenced scene for skyeye assess, with known buildings."""

from skyeye_det.commands.launch import run

if __name__ == "__main__":
    run("sample_scene")
