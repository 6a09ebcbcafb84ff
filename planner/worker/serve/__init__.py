"""The child as a server: a process for each run, and what it delivers."""
