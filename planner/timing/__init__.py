"""How long a step takes, and what it waits for: the GPU, the CPU, memory on both sides."""
