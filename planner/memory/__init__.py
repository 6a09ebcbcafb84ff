"""Memory without torch: the allocator replayed, requests at every batch, the largest that fits."""
