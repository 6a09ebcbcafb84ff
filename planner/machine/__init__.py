"""This machine: its processes and folders, its limits, its processor, its cards."""
