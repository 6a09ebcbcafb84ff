"""Writes the name of an option of Python as that of the command line.

In: a keyword, like lora_rank. Out: its option, like --lora-rank.
"""

from __future__ import annotations


def option_of(name: str) -> str:
    """Returns the option of the command line for a name, as --lora-rank."""
    return f"--{name.replace('_', '-')}"
