#!/usr/bin/env python
"""Runs the whole path on made-up scenes: generate, convert, train, predict, score, gallery."""

from skyeye_det.commands.launch import run

if __name__ == "__main__":
    run("demo")
