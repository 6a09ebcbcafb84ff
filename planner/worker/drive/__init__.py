"""The step: the batch, the loop or the user's own step, the loss."""
