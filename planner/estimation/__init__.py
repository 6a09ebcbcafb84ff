"""From the runs of a step to the answer for each card: what fits, how large a batch."""
