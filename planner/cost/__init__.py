"""What a step costs: energy and money."""
