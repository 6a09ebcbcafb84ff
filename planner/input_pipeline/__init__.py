"""How batches reach the card, and what the host has to have for it."""
