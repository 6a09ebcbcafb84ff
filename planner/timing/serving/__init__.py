"""How long a step of an engine that serves a language model takes, and what a load gets of it."""
