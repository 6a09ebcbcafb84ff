"""Generations of published models: told from parts, run whole, and by arithmetic."""
