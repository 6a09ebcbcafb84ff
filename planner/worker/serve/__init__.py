"""The child as a server: a process for each run, and its answer."""
