"""Predicted next to published throughput of training on several GPUs."""
