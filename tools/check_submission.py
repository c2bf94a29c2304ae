#!/usr/bin/env python
"""Lists every missing, misnamed, mis-sized, mis-typed, mis-valued or unreadable file of a submission."""

from skyeye_det.commands.launch import run

if __name__ == "__main__":
    run("check_submission")
