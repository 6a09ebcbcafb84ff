"""Counts one step in a process of its own, and keeps the counts of a step in a file.

In: steps. Out: ModelCounts, or the trouble. Convention: a file is gzipped JSON, complete or absent;
it has the fields of ModelCounts as msgspec writes them, so that new facts on operators need no
code here. They need new counts: `fields` is a part of the name of a file.
"""

from __future__ import annotations

import gzip
import hashlib
import os
from dataclasses import replace
from functools import cache
from pathlib import Path

import msgspec

from benchmarks.record.emulated import TROUBLES, card_budget, config_of, first_line, opened
from benchmarks.record.records import Step
from planner.memory.budget import MemoryBudget
from planner.wire.call_order import CallOrder
from planner.wire.module_counts import ModelCounts
from planner.wire.trace import OperatorRecord


@cache
def fields() -> str:
    """Returns a digest of the names and types of what the model of time needs of a step."""
    kinds = [msgspec.inspect.type_info(kind) for kind in (OperatorRecord, CallOrder)]
    return hashlib.sha256(repr(kinds).encode()).hexdigest()[:8]


def counts_or_trouble(step: Step, budget: MemoryBudget | None = None) -> ModelCounts | str:
    """Returns the counts of a step, or why there are none; `budget` is that of its card."""
    budget = budget or card_budget(step.card)
    try:
        with opened(step, budget) as model:
            return model.runner.count(model.cards.unlimited(budget), config_of(step))
    except TROUBLES as error:
        return first_line(error)


def write(path: Path, found: ModelCounts | str) -> None:
    """Writes the counts of a step, or the trouble."""
    if not isinstance(found, str):
        found = replace(found, modules=(), resident_bytes=0)
    partial = path.with_suffix(f".{os.getpid()}.partial")
    partial.write_bytes(gzip.compress(msgspec.json.encode(found), compresslevel=5, mtime=0))
    os.replace(partial, path)


def read(path: Path) -> ModelCounts | str:
    """Reads what `write` has written."""
    return msgspec.json.decode(gzip.decompress(path.read_bytes()), type=ModelCounts | str)
