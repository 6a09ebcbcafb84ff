"""Measured kernels against the model of their times: `python -m benchmarks.kernels`.

In: public tables of measured kernels (benchmarks/measurements/README.md). Out: the constants that
planner ships (planner/timing/measured/*.json), docs/kernels.md and results.csv.
"""
