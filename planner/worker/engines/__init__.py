"""The devices that run a step: the emulated device, a physical card, the CPU."""
