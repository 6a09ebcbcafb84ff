"""Elementwise kernels, norms and softmax: their tables, the fit, and how it does."""
