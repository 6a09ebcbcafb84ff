"""What a run did with memory: requests, their categories, phases and origins."""
