#!/usr/bin/env python
"""Predicts the damage of every building of image pairs, as competition PNGs and COCO results."""

from skyeye_det.commands.launch import run

if __name__ == "__main__":
    run("infer")
