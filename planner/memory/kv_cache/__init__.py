"""The cache of keys, values and states of a language model that is served."""
