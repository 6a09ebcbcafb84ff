"""Predicted peaks compared with those that others measured on a real H100 80GB and published.

`python -m benchmarks.h100_peaks` makes an environment, predicts each published figure on the
emulated card, prints predicted, measured and signed relative error, and writes results.csv.
"""
