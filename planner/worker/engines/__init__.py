"""What a step runs on: the emulated device, a physical card, the CPU."""
