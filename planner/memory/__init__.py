"""Memory without torch: the search for the largest batch."""
