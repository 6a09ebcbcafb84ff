"""Models how batches reach the card, and the needs on the host for that."""
