"""Fused attention: its tables, the fit of its form, and how that does."""
