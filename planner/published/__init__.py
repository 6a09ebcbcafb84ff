"""A published model named on the command line: its config found and checked, without torch."""
