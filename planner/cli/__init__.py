"""Turns command-line options into a library call, a report and an exit code; no own logic."""
