"""A training script from outside: its command, its interpreter, its runs."""
