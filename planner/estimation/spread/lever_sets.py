"""Lists the levers to try where a step fits on no spread, those with least effect first.

In: the facts of the step as requested, the session that has loaded its target. Out: LeverRows to
use together. Convention: only levers that save what lasts, because activations are the business of
checkpointing and of the micro-batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from planner.config.target import Target
from planner.estimation.advice.lever_row import LeverRow, Subject
from planner.estimation.advice.levers import lever_rows
from planner.estimation.request import EstimateRequest
from planner.estimation.session import EstimationSession
from planner.estimation.spread.facts import StepFacts
from planner.wire.trace import weight_dtypes

_FUSED = "fused optimizer"
_SETS = (
    (_FUSED,),
    ("8-bit AdamW",),
    ("bf16 weights",),
    ("bf16 weights", _FUSED),
    ("bf16 weights", "8-bit AdamW"),
    ("LoRA",),
    ("QLoRA",),
)


def lever_sets(
    session: EstimationSession, asked: EstimateRequest, facts: StepFacts
) -> Iterator[tuple[LeverRow, ...]]:
    """Yields levers to try together; those of the model file come last, one by one."""
    trace, target = facts.recorded.trace, asked.target
    published = target.published if isinstance(target, Target) else None
    rows = lever_rows(
        Subject(
            config=asked.config,
            weights=weight_dtypes(trace),
            optimizer=trace.optimizer,
            card=session.known.budgets[0].spec,
            library=None if published is None else published.library,
            task=None if published is None else published.task,
            own=session.child.runner.levers,
            given=asked.given,
        )
    )
    usable = {row.name: row for row in rows if not row.cannot}
    for names in (*_SETS, *((row.name,) for row in rows if row.is_own)):
        if all(name in usable for name in names):
            yield tuple(usable[name] for name in names)


def saves_only_temporaries(rows: Sequence[LeverRow]) -> bool:
    """Returns whether levers leave what lasts as it is."""
    return all(row.name == _FUSED for row in rows)
