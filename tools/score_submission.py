#!/usr/bin/env python
"""Scores predictions by the official xView2 formula, per event, and building by building."""

from skyeye_det.commands.launch import run

if __name__ == "__main__":
    run("score_submission")
