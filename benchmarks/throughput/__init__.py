"""Predicted step times compared with those that others measured on real cards and published.

`python -m benchmarks.throughput` counts the operators of each published step on the emulated card
(kept in the user's cache folder, since they do not change with the model of time), predicts its
time, and prints and writes the errors by source. `--fit` finds the efficiencies anew.
"""
