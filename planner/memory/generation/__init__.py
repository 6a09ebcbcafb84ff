"""Requests of a whole generation, from its first and its last tokens."""
