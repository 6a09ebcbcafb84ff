"""What a step costs: FLOPs, bytes and calls, by module and by operator."""
