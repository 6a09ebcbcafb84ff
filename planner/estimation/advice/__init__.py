"""Advice: changes of a step that are tried on the emulated card, and the one to take."""
