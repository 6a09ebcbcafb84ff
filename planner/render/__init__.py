"""Turns results into text and tables. Nothing here prints."""
