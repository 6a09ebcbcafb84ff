"""Hostile model files, each run as a whole command: the right exit code, and nothing left behind."""
