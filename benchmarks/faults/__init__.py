"""Hostile model files as whole commands: the right exit code, and nothing left behind."""
