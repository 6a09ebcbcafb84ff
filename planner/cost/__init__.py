"""Computes the cost of a step: energy and money."""
