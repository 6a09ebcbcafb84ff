"""The emulated CUDA device (built here, run in the child) and the launcher of child processes."""
