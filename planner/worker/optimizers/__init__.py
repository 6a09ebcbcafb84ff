"""Optimizers: the user's, or one by name."""
