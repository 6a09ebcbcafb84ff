"""A step that generates tokens, told from runs of its first and its last tokens."""
