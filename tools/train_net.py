#!/usr/bin/env python
"""Trains or evaluates SkyEye."""

from skyeye_det.commands.launch import run

if __name__ == "__main__":
    run("train_net")
