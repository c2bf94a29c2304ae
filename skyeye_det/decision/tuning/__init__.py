"""Tuning of the decision rule."""
