"""Compares peaks of ranks that are all there, one process each, with those of a rank alone."""
