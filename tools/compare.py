#!/usr/bin/env python
"""Measures an assessment against buildings whose damage is known, such as a field survey's."""

from skyeye_det.commands.launch import run

if __name__ == "__main__":
    run("compare")
