"""Set-up, training and inference: the only part with side effects."""
