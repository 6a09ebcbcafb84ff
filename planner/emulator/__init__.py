"""The emulated CUDA device: built here, once for each torch, and run in the child."""
