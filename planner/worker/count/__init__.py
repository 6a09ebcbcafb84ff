"""The cost of a step: FLOPs, bytes and calls, by module and by operator."""
