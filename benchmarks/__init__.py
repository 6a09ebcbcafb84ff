"""Benchmarks of the product: accuracy against published measurements, and latency."""
