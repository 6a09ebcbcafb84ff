"""Predicts memory without torch: replays the allocator, scales requests, searches the largest."""
