"""verify() on an emulated card: PyTorch's own allocator and its out-of-memory error.

In: Job, the card's name. Out: Verification. It shows that search and replay agree, and nothing
about a real card. One child serves both estimates and the probes between them, while it works.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import partial

from planner.estimation.context import ProfileFactory
from planner.estimation.session import EstimationSession, estimation_session
from planner.memory.budget import MemoryBudget, memory_budgets
from planner.process.client import Runner
from planner.process.payload import child_target
from planner.questions.estimate import estimate_on_cards
from planner.questions.verify.job import Job, compared, searched
from planner.results.estimate import Estimate
from planner.results.verification import DeviceKind, Verification, VerifiedDevice
from planner.units import format_bytes
from planner.verification.observations import EmulatedObservation
from planner.verification.probes import ProbeRunner


def on_emulated_card(job: Job, card: str) -> Verification:
    (budget,) = memory_budgets(
        [card], hardware_db=job.hardware_db, gpu_memory=None, reserve=job.reserve
    )
    observation = EmulatedObservation(context_overhead_bytes=budget.context_overhead_bytes)
    verified = VerifiedDevice(
        name=budget.card.name,
        kind=DeviceKind.EMULATED,
        memory_bytes=budget.usable_memory_bytes,
        limit=f"the emulated card gives PyTorch's allocator {format_bytes(budget.capacity_bytes)}",
    )
    with estimation_session(job.request(reserve=job.reserve), [card]) as step:
        first = estimate_on_cards(step, is_survey=False, search=True)
        cards, runner = step.child.cards, step.child.runner
        with ProbeRunner(
            open_runner=partial(_own_runner, job, cards, budget),
            profile=cards.limited(budget),
            config=job.config,
            progress=job.progress,
            observe=lambda: nullcontext(observation),
            lent=runner if runner.single_run is None else None,
        ) as lab:
            found = searched(job, lab, first, host_bytes=None)
            categories = lab.categories(found.largest) if found.largest else ()
        predicted = partial(job.predicted, card, search_largest=False, reserve=job.reserve)
        if lab.lent is not None:
            predicted = partial(_predicted_again, step)
        return compared(job, verified, first, found, predicted, categories)


def _predicted_again(step: EstimationSession, *, batch_size: int) -> Estimate:
    """Estimates another batch with the child of the first estimate."""
    setup = replace(step.setup, config=replace(step.setup.config, batch_size=batch_size))
    return estimate_on_cards(replace(step, setup=setup), is_survey=False, search=False)


@contextmanager
def _own_runner(job: Job, cards: ProfileFactory, budget: MemoryBudget) -> Iterator[Runner]:
    """Opens a child for probes alone, if the first one is broken or serves only one run."""
    with (
        child_target(job.target, job.functions, job.given) as named,
        Runner(
            named,
            device=cards.device,
            profile=cards.unlimited(budget),
            timeout_s=job.timeout_s,
            alloc_conf=job.config.alloc_conf,
        ) as runner,
    ):
        yield runner
