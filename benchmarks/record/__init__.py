"""What the comparisons with published figures share: `benchmarks.accuracy` and `.throughput`.

Each has its sources as data. Here are their common records, the environments and workers in which
steps are run on the emulated card, the reading of rows, samples and halves, and tables.
"""
