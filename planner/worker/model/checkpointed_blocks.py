"""The blocks that are chosen for activation checkpointing.

In: the model, its repeated blocks, the words of StepConfig.checkpoint_blocks. Out: modules by name.
Convention: of modules within each other the outermost is taken; a container that is never called
(nn.ModuleList) is none.
"""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

from torch import nn

from planner.config.levers import BlockRule, block_rule
from planner.config.near_words import near
from planner.errors import UsageError


def chosen_blocks(
    model: nn.Module, blocks: Sequence[nn.Module], words: str
) -> dict[str, nn.Module]:
    """Returns the chosen modules by name, in order of the model's definition.

    Raises:
        UsageError: there are no such modules.
    """
    names = {id(module): name for name, module in model.named_modules()}
    rule = block_rule(words)
    if rule.patterns:
        return _by_name(model, rule)
    number = rule.every or rule.first
    if len(blocks) < max(1, number):
        raise UsageError(
            f"checkpoint_blocks {words!r} (--checkpoint-blocks) was asked for, and the model has "
            f"{len(blocks)} repeated blocks in an nn.Sequential or nn.ModuleList; "
            + ("ask for fewer" if blocks else "name its modules instead, like 'encoder.*'")
        )
    taken = blocks[rule.every - 1 :: rule.every] if rule.every else blocks[: rule.first]
    return {names[id(block)]: block for block in taken}


def _by_name(model: nn.Module, rule: BlockRule) -> dict[str, nn.Module]:
    called = {
        name: module
        for name, module in model.named_modules()
        if name and type(module).forward is not nn.Module.forward
    }
    found: dict[str, nn.Module] = {}
    for pattern in rule.patterns:
        matched = {name: one for name, one in called.items() if _matches(name, pattern)}
        if not matched:
            raise UsageError(_unknown(model, called, pattern))
        found |= matched
    outermost = {
        name: module
        for name, module in found.items()
        if not any(name.startswith(f"{other}.") for other in found)
    }
    return {name: module for name, module in called.items() if name in outermost}


def _matches(name: str, pattern: str) -> bool:
    """Returns whether the pattern is that of the name; from a letter on, also of its end."""
    at_the_end = pattern[0].isalpha() and fnmatchcase(name, f"*.{pattern}")
    return at_the_end or fnmatchcase(name, pattern)


def _unknown(model: nn.Module, called: dict[str, nn.Module], pattern: str) -> str:
    text = f"checkpoint_blocks {pattern!r} (--checkpoint-blocks) matches no module of the model"
    if any(_matches(name, pattern) for name, _ in model.named_modules()):
        return f"{text} that is called: it names a container; write '{pattern}.*'"
    ends = {name[at:] for name in called for at in _beginnings(name)}
    meant = near(pattern, sorted(ends))
    if meant:
        return f"{text}; did you mean {meant}?"
    known = ", ".join(list(called)[:8])
    return f"{text}; its modules are {known}{' ...' if len(called) > 8 else ''}"


def _beginnings(name: str) -> list[int]:
    return [0, *(at + 1 for at, letter in enumerate(name) if letter == ".")]
