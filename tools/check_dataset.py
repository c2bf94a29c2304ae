#!/usr/bin/env python
"""Lists every fault of an xBD root, worst first, with what is done about each; see datasets/README.md."""

from skyeye_det.commands.launch import run

if __name__ == "__main__":
    run("check_dataset")
