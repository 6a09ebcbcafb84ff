"""verify() on a physical card, and what is kept of it.

In: Job, a card as NVML tells it. Out: Verification, which is added to the history.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from planner.device.nvml import Nvml, PhysicalCard
from planner.device.payload import child_target
from planner.device.profile import limit_profile
from planner.device.runner import Runner
from planner.errors import ChildTimeoutError, HistoryError, UnknownGpuError, UsageError
from planner.host_estimate import available_memory_bytes
from planner.protocol import Engine
from planner.units import MIB, format_bytes, parse_reserve
from planner.verification import history
from planner.verification.observations import watched_card
from planner.verification.probes import Lab
from planner.verification.ranks import smallest_of_ranks
from planner.verification.records import DeviceKind, Verification, VerifiedDevice
from planner.verification.spill import SpillGuard, no_spill, runs_in_wsl
from planner.verifying.job import Job, compared, searched

_IDLE_BYTES = 64 * MIB  # what a driver holds of a card that nobody uses


def on_physical_card(job: Job, nvml: Nvml, card: PhysicalCard) -> Verification:
    used_bytes, users = nvml.used_bytes(card), nvml.users(card)
    usable_bytes = card.usable_memory_bytes
    kept_bytes = parse_reserve(job.safety, usable_bytes)
    # What was learnt from runs on this card is left out: it is to be learnt from this one.
    free = {
        "gpu_memory": usable_bytes - used_bytes,
        "reserve": kept_bytes,
        "calibration": False,
    }
    notes = []
    if used_bytes > _IDLE_BYTES:
        who = f" (processes {', '.join(str(user.pid) for user in users)})" if users else ""
        notes.append(
            f"{format_bytes(used_bytes)} of the card are in use by others{who}; the prediction "
            "leaves it to them"
        )
    first = None
    try:
        first = job.predicted(card.name, max_batch=True, **free)
    except UnknownGpuError as error:
        notes.append(f"nothing is predicted: {error}")
    if not 0 <= kept_bytes < usable_bytes - used_bytes:
        raise UsageError(
            f"a safety of {format_bytes(kept_bytes)} leaves nothing of the "
            f"{format_bytes(usable_bytes - used_bytes)} that are free"
        )
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
        with Lab(
            open_runner=open_runner,
            profile=limit_profile(kept_bytes=kept_bytes or None),
            config=job.config,
            progress=job.progress,
            observe=lambda: watched_card(nvml, card),
            is_timed=True,
            judge=SpillGuard(usable_bytes).judge if runs_in_wsl() else no_spill,
        ) as lab:
            found = searched(job, lab, first, host_bytes=available_memory_bytes())
            categories = lab.categories(found.largest) if found.largest else ()
    verified = VerifiedDevice(
        name=card.name,
        kind=DeviceKind.PHYSICAL,
        memory_bytes=usable_bytes,
        limit=f"PyTorch leaves {format_bytes(kept_bytes)} of the card free"
        if kept_bytes
        else "the card itself",
        driver=card.driver,
        ecc=card.ecc,
        power_limit_w=card.power_limit_w,
        other_processes_bytes=used_bytes,
    )
    predicted = None
    if first is not None:
        predicted = partial(job.predicted, card.name, max_batch=False, **free)
    done = compared(job, verified, first, found, predicted, categories, tuple(notes))
    try:
        least = smallest_of_ranks(found.largest)
    except ChildTimeoutError as error:
        least, done = None, replace(done, warnings=(*done.warnings, str(error)))
    return _kept(replace(done, max_batch_of_all_ranks=least))


def _kept(verification: Verification) -> Verification:
    """Keeps a verification in the history; one that cannot be kept is worth no less to the user."""
    if verification.measured.max_batch_size is None:
        return verification
    try:
        history.add(verification)
    except HistoryError as error:
        said = f"this verification could not be kept: {error}"
        return replace(verification, warnings=(*verification.warnings, said))
    return verification
