"""Grids of cases: read from a matrix, sent to an executor, kept in a folder, shown as tables."""
