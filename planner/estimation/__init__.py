"""Turns the runs of a step into the answer for each card: whether it fits, how large a batch."""
