"""Runs in the child process: loads the user's model and runs its training step with torch."""
