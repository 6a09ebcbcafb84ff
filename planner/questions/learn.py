"""learn(): reads a message of PyTorch or the log of vLLM's start, and keeps what it measures.

text, card -> the figures in it -> the context of the process into the history, where it is sure
"""

from __future__ import annotations

import hashlib
import re

from planner._version import __version__
from planner.config.step import StepConfig
from planner.errors import HistoryError
from planner.hardware.database import load_gpus
from planner.hardware.specs import GpuSpec
from planner.results.estimate import Versions
from planner.results.verification import DeviceKind, Figures, Verification, VerifiedDevice
from planner.units import format_bytes
from planner.verification import history
from planner.verification.learned import Learned
from planner.verification.oom_message import OomMessage, oom_messages, plain
from planner.verification.vllm_log import vllm_boot

UNKNOWN_VERSION = "not known"
_ONE_PROCESS_ONLY = re.compile(r"\[rank ?[0-9]+\]|\bNCCL\b|DistributedDataParallel|FSDP|torchrun")
_LEAST, _MOST = 0.5, 2.0  # of the record's context: beyond it, something else is in the figure


def learn(text: str, *, gpu: str | None = None, keep: bool = True) -> Learned:
    """Reads a CUDA out-of-memory message or the log of vLLM's start.

    `gpu` names the card: a message has only its memory. With it and `keep`, the context overhead of
    a message of one process is kept in the history, where the next estimate for the card uses it.
    A text without either has no messages and no vllm.

    Raises:
        UnknownGpuError: no such card.
    """
    card = None if gpu is None else load_gpus().find(gpu).spec
    words = plain(text)
    messages = oom_messages(words)
    first = messages[0] if messages else None
    reason = _reason(words, first, card) if keep else "it was not asked for"
    kept_as = None
    if reason is None:
        assert first is not None
        assert card is not None
        try:
            kept_as = _kept(first, card)
        except HistoryError as error:
            reason = str(error)
    return Learned(
        messages=messages,
        vllm=vllm_boot(words),
        card=None if card is None else card.name,
        candidates=() if first is None else _candidates(first.total_bytes),
        kept_as=kept_as,
        not_kept=reason,
    )


def _reason(text: str, message: OomMessage | None, card: GpuSpec | None) -> str | None:
    """Returns why the message measures nothing to keep; None: it does."""
    if message is None:
        return (
            "vLLM prints no figure that an estimate of a step could learn from: its non-torch "
            "memory is without the context"
        )
    outside_bytes = message.outside_bytes
    if outside_bytes is None:
        return "the message does not say how much memory this process has on the card"
    if _ONE_PROCESS_ONLY.search(text):
        return "the text is of several processes: NCCL takes memory that is not the context"
    if card is None:
        return "the message does not name the card: say it with --gpu"
    if not _has(card, message.total_bytes):
        return (
            f"a {card.name} has {format_bytes(card.usable_memory_bytes)}, and the message says "
            f"{format_bytes(message.total_bytes)}"
        )
    usual_bytes = card.context_overhead_bytes
    if not _LEAST * usual_bytes <= outside_bytes <= _MOST * usual_bytes:
        return (
            f"{format_bytes(outside_bytes)} outside of PyTorch is far from the context of this "
            f"card, {format_bytes(usual_bytes)}: something else is in it"
        )
    return None


def _candidates(total_bytes: int) -> tuple[str, ...]:
    return tuple(
        card.name for card in load_gpus().all() if card.emulatable and _has(card, total_bytes)
    )


def _has(card: GpuSpec, total_bytes: int) -> bool:
    """Returns whether the card has this memory, to 1 %: it differs a little by driver."""
    least_bytes, most_bytes = card.usable_memory_bytes, card.usable_memory_max_bytes
    return 0.99 * least_bytes <= total_bytes <= 1.01 * most_bytes


def _kept(message: OomMessage, card: GpuSpec) -> int:
    """Keeps the context in the history and returns the id; that of the same message if it is there.

    Raises:
        HistoryError: the history cannot be read or written.
    """
    digest = hashlib.sha256(repr((card.id, message)).encode()).hexdigest()[:8]
    target = f"out-of-memory message {digest}"
    for known in history.entries(card=card.name, target=target):
        return known.id
    return history.add(
        Verification(
            target=target,
            config=StepConfig(),
            optimizer="",
            device=VerifiedDevice(
                name=card.name, kind=DeviceKind.PHYSICAL, memory_bytes=message.total_bytes
            ),
            predicted=Figures(context_overhead_bytes=card.context_overhead_bytes),
            measured=Figures(context_overhead_bytes=message.outside_bytes),
            probes=(),
            versions=Versions(
                torch=UNKNOWN_VERSION, cuda="", cudnn=None, python="", planner=__version__
            ),
            tolerance=0.0,
            stopped="a message has only the context overhead",
        )
    )
