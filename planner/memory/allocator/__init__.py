"""PyTorch's caching allocator, replayed without torch."""
