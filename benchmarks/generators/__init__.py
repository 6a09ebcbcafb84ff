"""Pipelines of diffusers: predicted peaks compared with published ones and with arithmetic.

`python -m benchmarks.generators` needs an environment with diffusers, transformers and accelerate.
"""
