"""Predicts the time of a step, and its bottleneck: the GPU, the CPU, memory on both sides."""
