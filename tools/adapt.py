#!/usr/bin/env python
"""Serves the page of an assessment to this machine's browser, and saves what people correct there."""

from skyeye_det.commands.launch import run

if __name__ == "__main__":
    run("adapt")
