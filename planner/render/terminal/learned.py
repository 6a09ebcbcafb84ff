"""What an out-of-memory message or vLLM's log means, in sentences.

In: Learned. Out: lines of text. Convention: memory of a card is tensors, memory that PyTorch holds
without tensors in it, the rest of this process, others, and what is free.
"""

from __future__ import annotations

from planner.units import GIB, MIB, counted, format_bytes
from planner.verification.learned import Learned
from planner.verification.oom_message import OomMessage
from planner.verification.vllm_log import VllmBoot

LOOKED_FOR = (
    'neither "CUDA out of memory. Tried to allocate ..." of PyTorch nor the lines on memory that '
    "vLLM prints while it starts"
)
_CANDIDATES_SHOWN = 6
_NOTABLE_BYTES = 256 * MIB  # less than this on a card is its desktop and driver


def learned_lines(learned: Learned) -> list[str]:
    """Returns the report, line by line."""
    lines: list[str] = []
    for message in learned.messages[:1]:
        lines += _message_lines(message, learned)
    more = len(learned.messages) - 1
    if more > 0:
        lines.append(f"- {counted(more, 'more message')} in this text; the first one counts")
    if learned.vllm is not None:
        lines += [*([""] if lines else []), *_vllm_lines(learned.vllm)]
    kept = kept_line(
        "the context overhead", "it", kept_as=learned.kept_as, not_kept=learned.not_kept
    )
    return [*lines, "", kept]


def _message_lines(message: OomMessage, learned: Learned) -> list[str]:
    outside, others = message.outside_bytes, message.others_bytes
    rows = [
        ("memory of the card", message.total_bytes),
        ("tensors", message.allocated_bytes),
        ("held by PyTorch, no tensor in it", message.unallocated_bytes),
        *([("CUDA graphs, among the tensors", message.private_pools_bytes)]
          if message.private_pools_bytes else []),
        *([("context and other libraries", max(0, outside))] if outside is not None else []),
        *([("other processes, desktop, driver", others)] if others is not None else []),
        *([("all else", _rest_bytes(message))] if outside is None else []),
        ("free", message.free_bytes),
        ("asked for", message.requested_bytes),
    ]  # fmt: skip
    width = max(len(label) for label, _ in rows)
    return [
        _verdict(message),
        "",
        f"{'card':{width}}  {_card(learned)}",
        *(f"{label:{width}}  {format_bytes(size)}" for label, size in rows),
        "",
        "what it means",
        *(f"- {text}" for text in _meanings(message)),
    ]


def _card(learned: Learned) -> str:
    if learned.card is not None:
        return learned.card
    names = [*dict.fromkeys(learned.candidates)]
    if not names:
        return "not named, and no card of the database has this memory"
    more = len(names) - _CANDIDATES_SHOWN
    shown = ", ".join(names[:_CANDIDATES_SHOWN])
    return f"not named; with this memory: {shown}{f' and {more} more' if more > 0 else ''}"


def _rest_bytes(message: OomMessage) -> int:
    taken_bytes = message.allocated_bytes + message.unallocated_bytes + message.free_bytes
    return max(0, message.total_bytes - taken_bytes)


def _verdict(message: OomMessage) -> str:
    asked = format_bytes(message.requested_bytes)
    if message.missing_bytes > 0:
        return (
            f"GPU {message.device} has {format_bytes(message.free_bytes)} free and a tensor of "
            f"{asked} was asked for: {format_bytes(message.missing_bytes)} too little"
        )
    return (
        f"GPU {message.device} has {format_bytes(message.free_bytes)} free, more than the {asked} "
        "that were asked for, and the driver still gave nothing"
    )


def _meanings(message: OomMessage) -> list[str]:
    found = [_limit_meaning(message), _size_meaning(message), _spill_meaning(message)]
    found += [_others_meaning(message), _fragmentation_meaning(message), _pools_meaning(message)]
    found = [one for one in found if one]
    return found or [
        "the tensors alone are too large for the card: a smaller batch or sequence, checkpointing "
        "or lower precision; `planner estimate` says what fits"
    ]


def _limit_meaning(message: OomMessage) -> str:
    if message.allowed_bytes is not None and message.allowed_bytes < message.total_bytes:
        allowed = format_bytes(message.allowed_bytes)
        return f"set_per_process_memory_fraction allows this process {allowed}: raise it"
    if message.missing_bytes <= 0:
        return (
            "memory was freed after the request had failed, or the system keeps some of the card "
            "for itself, as Windows does"
        )
    return ""


def _size_meaning(message: OomMessage) -> str:
    if message.requested_bytes > message.total_bytes:
        return (
            "this one tensor is larger than the whole card: a size in the code is probably wrong"
            if message.requested_bytes > 4 * message.total_bytes
            else "this one tensor is larger than the whole card: no setting can make it fit"
        )
    return ""


def _spill_meaning(message: OomMessage) -> str:
    if message.allocated_bytes > message.total_bytes:
        return (
            "the tensors are more than the card has: the driver moved some to host memory, as on "
            "Windows, which is slow"
        )
    return ""


def _others_meaning(message: OomMessage) -> str:
    others, missing = message.others_bytes, message.missing_bytes
    if others is None:
        if message.processes:
            listed = ", ".join(f"{pid} ({format_bytes(size)})" for pid, size in message.processes)
            return (
                f"processes on the card: {listed}; in a container one of them may be this one, "
                "under its number outside"
            )
        rest = _rest_bytes(message)
        usual = rest < 2 * GIB
        return "" if usual else (
            f"{format_bytes(rest)} are neither PyTorch's nor free: other processes, or libraries "
            "of this one; `nvidia-smi` lists them"
        )  # fmt: skip
    if others < _NOTABLE_BYTES:
        return ""
    pids = ", ".join(str(pid) for pid, _ in message.processes)
    who = f" (process {pids})" if pids else ""
    enough = "this would have been enough" if 0 < missing <= others else "not enough by itself"
    return f"other processes{who} have {format_bytes(others)} of the card; without them: {enough}"


def _fragmentation_meaning(message: OomMessage) -> str:
    """Returns whether memory that is held without tensors would have helped."""
    held, missing = message.unallocated_bytes, message.missing_bytes
    if missing <= 0 or message.requested_bytes > message.total_bytes:
        return ""
    setting = "PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True"
    if held >= missing:
        return (
            f"fragmentation: PyTorch holds {format_bytes(held)} in pieces without a tensor, more "
            f"than the {format_bytes(missing)} that are missing. {setting} can join them; try it "
            "first (not on Windows)"
        )
    if held >= message.total_bytes // 10:
        return (
            f"fragmentation: PyTorch holds {format_bytes(held)} in pieces without a tensor. Joined "
            f"by {setting} they would still be {format_bytes(missing - held)} too little"
        )
    return (
        f"{setting} would not help: only {format_bytes(held)} are held without a tensor. The job "
        "is too large: a smaller batch or sequence, checkpointing or lower precision; `planner "
        "estimate` says what fits"
    )


def _pools_meaning(message: OomMessage) -> str:
    pools = message.private_pools_bytes
    if pools is None or pools < _NOTABLE_BYTES:
        return ""
    return f"CUDA graphs keep {format_bytes(pools)}, which nothing else can use"


def _vllm_lines(boot: VllmBoot) -> list[str]:
    rows = [
        ("memory of the card", _size(boot.total_bytes)),
        ("gpu_memory_utilization", None if boot.utilization is None else f"{boot.utilization:g}"),
        ("weights", _size(boot.weights_bytes)),
        ("most of a step", _size(boot.activation_bytes)),
        ("outside of PyTorch, without the context", _size(boot.outside_bytes)),
        ("CUDA graphs", _size(boot.graphs_bytes)),
        ("KV cache", _size(boot.kv_cache_bytes)),
        ("KV cache, in tokens", _count(boot.kv_cache_tokens)),
        ("KV cache, in blocks", _count(boot.kv_cache_blocks)),
        ("longest request", _count(boot.longest_sequence)),
    ]
    known = [(label, value) for label, value in rows if value is not None]
    width = max((len(label) for label, _ in known), default=0)
    return [
        "vLLM did not start: its KV cache is too small" if boot.has_failed else "vLLM's start",
        "",
        *(f"{label:{width}}  {value}" for label, value in known),
        "",
        "what it means",
        *(f"- {text}" for text in _vllm_meanings(boot)),
    ]


def _vllm_meanings(boot: VllmBoot) -> list[str]:
    found = [
        "the KV cache is what gpu_memory_utilization leaves of the card beside weights, a step and "
        "what is outside of PyTorch; it is filled by requests, and taken whole at the start"
    ]
    missing = boot.kv_cache_needed_bytes
    if missing is not None and boot.kv_cache_bytes is not None:
        found.append(
            f"one request of the longest length needs {format_bytes(missing)} of KV cache, "
            f"{format_bytes(missing - boot.kv_cache_bytes)} more than there is"
        )
    if boot.kv_cache_bytes is not None and boot.kv_cache_bytes < 0:
        found.append(
            f"the model alone is {format_bytes(-boot.kv_cache_bytes)} beyond its share of the card"
        )
    if boot.has_failed:
        length = boot.fitting_sequence
        said = f" to {length:,} or less" if length is not None else ""
        found.append(
            f"lower --max-model-len{said}, raise --gpu-memory-utilization, or take a smaller dtype "
            "of weights or KV cache"
        )
    tokens, longest = boot.kv_cache_tokens, boot.longest_sequence
    if tokens and longest and not boot.has_failed:
        found.append(
            f"{tokens:,} tokens are {tokens / longest:.1f} requests of the longest length at a time"
        )
    if boot.kv_cache_bytes and tokens and boot.kv_cache_bytes > 0:
        found.append(f"a token takes {format_bytes(boot.kv_cache_bytes // tokens)} of KV cache")
    if boot.graphs_bytes and boot.graphs_bytes > GIB // 2:
        found.append(
            f"CUDA graphs take {format_bytes(boot.graphs_bytes)}, in older versions outside of "
            "that share: --enforce-eager does without, and is slower"
        )
    return found


def kept_line(what: str, uses: str, *, kept_as: int | None, not_kept: str | None) -> str:
    """Returns what was kept as which entry of the history, or why nothing was."""
    if kept_as is not None:
        return (
            f"kept: {what}, as entry {kept_as} of `planner history`; the next estimate for this "
            f"card uses {uses}"
        )
    return f"nothing is kept: {not_kept}"


def _size(size_bytes: int | None) -> str | None:
    return None if size_bytes is None else _signed(size_bytes)


def _signed(size_bytes: int) -> str:
    return format_bytes(size_bytes) if size_bytes >= 0 else f"-{format_bytes(-size_bytes)}"


def _count(number: int | None) -> str | None:
    return None if number is None else f"{number:,}"
