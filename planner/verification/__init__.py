"""Searches the largest batch for real, compares it with the prediction, and learns from it."""
