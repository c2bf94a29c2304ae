"""Siamese backbone, pre/post fusion, ordinal damage, and the ROI heads that join them."""
