#!/usr/bin/env python
"""Shows the released model at work on made-up scenes; see ``make demo``."""

from skyeye_det.commands.launch import run

if __name__ == "__main__":
    run("demo")
