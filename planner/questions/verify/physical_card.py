"""verify() on a physical card, with the entry in the history.

In: Job, a card as NVML reports it. Out: Verification, which is added to the history.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from planner.emulator.profile import limit_profile
from planner.errors import ChildTimeoutError, HistoryError, UnknownGpuError, UsageError
from planner.machine.nvml import CardUser, Nvml, PhysicalCard
from planner.process.client import Runner
from planner.process.payload import child_target
from planner.questions.estimate_cpu import available_memory_bytes
from planner.questions.verify.job import Job, compared, searched
from planner.results.estimate import Estimate
from planner.results.verification import Categories, DeviceKind, Verification, VerifiedDevice
from planner.units import MIB, format_bytes, parse_reserve
from planner.verification import history
from planner.verification.observations import watched_card
from planner.verification.probes import ProbeRunner
from planner.verification.ranks import smallest_of_ranks
from planner.verification.search import Searched
from planner.verification.spill import SpillGuard, no_spill, runs_in_wsl
from planner.wire.protocol import Engine

_IDLE_BYTES = 64 * MIB  # held by the driver on a card that nobody uses


@dataclass(frozen=True, slots=True, kw_only=True)
class _Space:
    """A card, and the memory of it that is not for the step."""

    card: PhysicalCard
    used_bytes: int  # by others, before any probe
    kept_bytes: int
    users: tuple[CardUser, ...]

    @property
    def options(self) -> dict[str, Any]:
        """Returns the space as options of estimate().

        Calibration by past runs is off, because this run is to give new data for it.
        """
        return {
            "gpu_memory": self.card.usable_memory_bytes - self.used_bytes,
            "reserve": self.kept_bytes,
            "calibration": False,
        }

    @property
    def device(self) -> VerifiedDevice:
        """Returns the card as the verification reports it."""
        kept = f"PyTorch leaves {format_bytes(self.kept_bytes)} of the card free"
        return VerifiedDevice(
            name=self.card.name,
            kind=DeviceKind.PHYSICAL,
            memory_bytes=self.card.usable_memory_bytes,
            limit=kept if self.kept_bytes else "the card itself",
            driver=self.card.driver,
            ecc=self.card.ecc,
            power_limit_w=self.card.power_limit_w,
            other_processes_bytes=self.used_bytes,
        )

    @property
    def notes(self) -> tuple[str, ...]:
        """Returns a note on other users of the card."""
        if self.used_bytes <= _IDLE_BYTES:
            return ()
        pids = ", ".join(str(user.pid) for user in self.users)
        who = f" (processes {pids})" if pids else ""
        return (
            f"{format_bytes(self.used_bytes)} of the card are in use by others{who}; the "
            "prediction leaves it to them",
        )


def on_physical_card(job: Job, nvml: Nvml, card: PhysicalCard) -> Verification:
    """Predicts, searches and compares; keeps the result in the history.

    Raises:
        UsageError: the reserve leaves nothing of the card.
        PlannerError: see errors.py.
    """
    space = _space(job, nvml, card)
    first, predict, notes = None, None, space.notes
    try:
        first = job.predicted(card.name, search_largest=True, **space.options)
        predict = partial(job.predicted, card.name, search_largest=False, **space.options)
    except UnknownGpuError as error:
        notes = (*notes, f"nothing is predicted: {error}")
    found, categories = _probed(job, nvml, space, first)
    done = compared(job, space.device, first, found, predict, categories, notes)
    try:
        least = smallest_of_ranks(found.largest)
    except ChildTimeoutError as error:
        least, done = None, replace(done, warnings=(*done.warnings, str(error)))
    return _kept(replace(done, max_batch_of_all_ranks=least))


def _space(job: Job, nvml: Nvml, card: PhysicalCard) -> _Space:
    used_bytes, usable_bytes = nvml.used_bytes(card), card.usable_memory_bytes
    kept_bytes = parse_reserve(job.reserve, usable_bytes)
    if not 0 <= kept_bytes < usable_bytes - used_bytes:
        raise UsageError(
            f"a reserve of {format_bytes(kept_bytes)} leaves nothing of the "
            f"{format_bytes(usable_bytes - used_bytes)} that are free"
        )
    return _Space(card=card, used_bytes=used_bytes, kept_bytes=kept_bytes, users=nvml.users(card))


def _probed(
    job: Job, nvml: Nvml, space: _Space, first: Estimate | None
) -> tuple[Searched, Categories]:
    """Searches with probes on the card; returns also the peak of the largest batch by category."""
    card = space.card
    environment = {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": card.uuid}
    with child_target(job.target, job.functions, job.given) as named:
        open_runner = partial(
            Runner,
            named,
            device=Engine.CUDA,
            timeout_s=job.timeout_s,
            alloc_conf=job.config.alloc_conf,
            environment=environment,
        )
        with ProbeRunner(
            open_runner=open_runner,
            profile=limit_profile(kept_bytes=space.kept_bytes or None),
            config=job.config,
            progress=job.progress,
            observe=lambda: watched_card(nvml, card),
            is_timed=True,
            judge=SpillGuard(card.usable_memory_bytes).judge if runs_in_wsl() else no_spill,
        ) as lab:
            found = searched(job, lab, first, host_bytes=available_memory_bytes())
            return found, lab.categories(found.largest) if found.largest else ()


def _kept(verification: Verification) -> Verification:
    """Keeps a verification in the history; where that fails, only adds a warning."""
    if verification.measured.max_batch_size is None:
        return verification
    try:
        history.add(verification)
    except HistoryError as error:
        said = f"this verification could not be kept: {error}"
        return replace(verification, warnings=(*verification.warnings, said))
    return verification
