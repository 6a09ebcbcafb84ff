"""The memory of an engine that serves a language model: weights, cache, and the rest."""
