#!/usr/bin/env python
"""Lists the released models."""

from skyeye_det.commands.launch import run

if __name__ == "__main__":
    run("models")
