"""The user's code: found, imported, and its own lines in a traceback."""
