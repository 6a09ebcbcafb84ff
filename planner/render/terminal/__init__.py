"""Turns results into reports for a terminal. Nothing here prints."""
