"""A training script, unchanged, on the emulated card: hooks in its own processes."""
