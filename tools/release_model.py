#!/usr/bin/env python
"""Releases a trained model into the package: weights, config, rules, card, hashes."""

from skyeye_det.commands.launch import run

if __name__ == "__main__":
    run("release_model")
