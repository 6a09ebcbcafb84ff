"""The public face: the list of public names, and functions that answer and show in one call."""
