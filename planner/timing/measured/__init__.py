"""Kernels whose times come from published tables of measured kernels, by their subject."""
