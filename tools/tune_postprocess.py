#!/usr/bin/env python
"""Tunes thresholds, areas and the decision rule of a trained model to the official score, cross-fitted."""

from skyeye_det.commands.launch import run

if __name__ == "__main__":
    run("tune_postprocess")
