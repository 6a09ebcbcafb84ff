"""The largest batch searched for real, held against the prediction, and what is learnt from it."""
