"""The emulated CUDA device: it is built here, once for each torch, and runs in the child."""
