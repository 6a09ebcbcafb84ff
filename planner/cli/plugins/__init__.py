"""Plugins of other programs' command lines."""
