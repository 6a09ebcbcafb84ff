"""verify() on an emulated card: PyTorch's own allocator and its out-of-memory error.

In: Job, the card's name. Out: Verification. It shows that search and replay agree, nothing about a
real card.
"""

from __future__ import annotations

from contextlib import nullcontext
from functools import partial

from planner.emulator.build import emulated_device
from planner.emulator.torch_install import find_torch
from planner.estimation.context import ProfileFactory
from planner.memory.budget import memory_budgets
from planner.process.client import Runner
from planner.process.payload import child_target
from planner.questions.verify.job import Job, compared, searched
from planner.results.verification import DeviceKind, Verification, VerifiedDevice
from planner.units import format_bytes
from planner.verification.observations import EmulatedObservation
from planner.verification.probes import ProbeRunner


def on_emulated_card(job: Job, card: str) -> Verification:
    (budget,) = memory_budgets(
        [card], hardware_db=job.hardware_db, gpu_memory=None, reserve=job.safety
    )
    first = job.predicted(card, max_batch=True, reserve=job.safety)
    torch = find_torch()
    cards = ProfileFactory(torch=torch, device=emulated_device(torch, job.progress))
    observation = EmulatedObservation(context_overhead_bytes=budget.context_overhead_bytes)
    with child_target(job.target, job.functions, job.given) as named:
        open_runner = partial(
            Runner,
            named,
            device=cards.device,
            profile=cards.unlimited(budget),
            timeout_s=job.timeout_s,
            alloc_conf=job.config.alloc_conf,
        )
        with ProbeRunner(
            open_runner=open_runner,
            profile=cards.limited(budget),
            config=job.config,
            progress=job.progress,
            observe=lambda: nullcontext(observation),
        ) as lab:
            found = searched(job, lab, first, host_bytes=None)
            categories = lab.categories(found.largest) if found.largest else ()
    verified = VerifiedDevice(
        name=budget.card.name,
        kind=DeviceKind.EMULATED,
        memory_bytes=budget.usable_memory_bytes,
        limit=f"the emulated card gives PyTorch's allocator {format_bytes(budget.capacity_bytes)}",
    )
    predicted = partial(job.predicted, card, max_batch=False, reserve=job.safety)
    return compared(job, verified, first, found, predicted, categories)
