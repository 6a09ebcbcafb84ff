"""Predictions compared with figures that others measured on real GPUs and published.

`python -m benchmarks.accuracy` makes the environments, predicts each published case on the emulated
card, and writes a row for each case (results.csv) and the record (docs/accuracy.md).
"""
