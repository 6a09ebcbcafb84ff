"""Reads how a job is spread over GPUs from the words of the caller.

In: `num_gpus`, `num_hosts`, `parallel`, `parallel_arguments`, `microbatches`. Out: ParallelConfig.
Convention: of the data-parallel words at most one may come without a degree: it has what the others
leave.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence

from planner.config.near_words import near
from planner.config.parallel import (
    DataParallel,
    ParallelConfig,
    Schedule,
)
from planner.config.parallel_knobs import with_arguments
from planner.config.pipeline_words import check_pipeline, with_schedule
from planner.config.scalars import Scalar
from planner.errors import UsageError

NAMES = ("num_gpus", "num_hosts", "parallel", "parallel_arguments", "microbatches")
GPUS_OF_A_HOST = 8  # of the usual machine; more GPUs than that are on several
MOST_GPUS = 131_072
_DATA = {one.value: one for one in DataParallel if one is not DataParallel.NONE}
_EXPERTS = "ep"
_DEGREES = (*_DATA, "hsdp", "cp", "tp", "pp", _EXPERTS)
_SCHEDULES = {one.value: one for one in Schedule}
_WORDS = (*_DEGREES, *_SCHEDULES)


def parallel_config(
    num_gpus: int | None,
    num_hosts: int | None,
    words: str | None,
    arguments: Sequence[tuple[str, Scalar]],
    microbatches: int | None = None,
) -> ParallelConfig | None:
    """Returns how the job is spread; None: it runs on one GPU, and nothing else was asked for.

    Raises:
        UsageError: a word is unknown, or degrees and GPUs do not fit together; says what to type.
    """
    if words is None and num_gpus in (None, 1):
        if arguments or microbatches is not None or num_hosts not in (None, 1):
            given = "--parallel-arg" if arguments else f"--num-hosts {num_hosts}"
            if microbatches is not None:
                given = f"--microbatches {microbatches}"
            raise UsageError(
                f"{given} was given, and the job runs on one GPU: add --num-gpus, like "
                "--num-gpus 8 --parallel fsdp"
            )
        return None
    _check_counts(num_gpus, num_hosts)
    text = words if words is not None else DataParallel.DDP.value
    degrees, schedule = _degrees(text)
    degrees = _with_experts(degrees, num_gpus, text)
    gpus = _gpus(num_gpus, degrees, text)
    config = _config(_filled(degrees, gpus, text), gpus, _hosts(num_hosts, gpus))
    config = with_schedule(config, schedule, microbatches)
    config = with_arguments(config, arguments)
    check_pipeline(config)
    return config


def _check_counts(num_gpus: int | None, num_hosts: int | None) -> None:
    if num_gpus is not None and not 1 <= num_gpus <= MOST_GPUS:
        raise UsageError(f"num_gpus must be from 1 to {MOST_GPUS}, not {num_gpus} (--num-gpus)")
    if num_hosts is not None and num_hosts < 1:
        raise UsageError(f"num_hosts must be at least 1, not {num_hosts} (--num-hosts)")


def _degrees(text: str) -> tuple[dict[str, tuple[int, ...] | None], Schedule | None]:
    """Returns the degrees of each word, None where it has none; and the order of a pipeline."""
    found: dict[str, tuple[int, ...] | None] = {}
    schedules: list[Schedule] = []
    for part in text.split(","):
        if part.strip().lower() in _SCHEDULES:
            schedules.append(_SCHEDULES[part.strip().lower()])
            continue
        match = re.fullmatch(r"\s*([A-Za-z]\w*)\s*(?:=\s*(\d+(?:x\d+)?))?\s*", part)
        word = "" if match is None else match[1].lower()
        if match is None or word not in _DEGREES:
            raise UsageError(_unknown(part.strip(), text))
        if word in found:
            raise UsageError(f"parallel {text!r} (--parallel) has {word} twice: write it once")
        found[word] = None if match[2] is None else tuple(map(int, match[2].split("x")))
        _check_form(word, found[word], text)
    data = [word for word in found if word in _DATA or word == "hsdp"]
    if len(data) > 1:
        raise UsageError(
            f"parallel {text!r} (--parallel) has {' and '.join(data)}, which share the samples in "
            "different ways: leave one of them out (hsdp=2x8 is fsdp over 8 in 2 replicas)"
        )
    if schedules and ("pp" not in found or len(schedules) > 1):
        raise UsageError(
            f"parallel {text!r} (--parallel): {schedules[-1].value} is an order of a pipeline: "
            f"write one of them after pp, like pp=4,{schedules[-1].value}"
        )
    return found, schedules[0] if schedules else None


def _check_form(word: str, degree: tuple[int, ...] | None, text: str) -> None:
    wanted = 2 if word == "hsdp" else 1
    if degree is None and (word in _DATA):
        return
    if degree is None or len(degree) != wanted or 0 in degree:
        example = "hsdp=2x8 (2 replicas of 8 shards)" if word == "hsdp" else f"{word}=4"
        raise UsageError(
            f"parallel {text!r} (--parallel): {word} needs a number of GPUs, like {example}"
        )


def _unknown(part: str, text: str) -> str:
    name = part.partition("=")[0].strip().lower()
    meant = near(name, _WORDS)
    hint = f"; did you mean {meant}?" if meant else f"; known: {', '.join(_WORDS)}"
    return (
        f"parallel {text!r} (--parallel): {part!r} is not a way to use several GPUs{hint}. "
        "Write fsdp, ddp, fsdp=8,tp=4 or pp=4,1f1b"
    )


def _gpus(num_gpus: int | None, degrees: Mapping[str, tuple[int, ...] | None], text: str) -> int:
    if num_gpus is not None:
        return num_gpus
    if None in degrees.values():
        raise UsageError(
            f"parallel {text!r} (--parallel) does not say over how many GPUs: add --num-gpus 8, or "
            f"write {text}=8"
        )
    return _product(degrees)


def _product(degrees: Mapping[str, tuple[int, ...] | None]) -> int:
    """Returns the GPUs of all degrees; experts are dealt out to those of fsdp."""
    named = (one for word, one in degrees.items() if one is not None and word != _EXPERTS)
    return math.prod(map(math.prod, named))


def _filled(
    degrees: Mapping[str, tuple[int, ...] | None], gpus: int, text: str
) -> dict[str, tuple[int, ...]]:
    """Gives the word without a degree what the others leave."""
    named = _product(degrees)
    open_words = [word for word, one in degrees.items() if one is None]
    if gpus % named:
        raise UsageError(
            f"parallel {text!r} (--parallel) needs a multiple of {named} GPUs, and there are "
            f"{gpus} (--num-gpus): take --num-gpus {max(1, round(gpus / named)) * named}, or other "
            "degrees"
        )
    left = gpus // named
    if not open_words and left > 1:
        has_data = any(word in _DATA or word == "hsdp" for word in degrees)
        add = "" if has_data else f", or add fsdp={left} or ddp={left}"
        raise UsageError(
            f"parallel {text!r} (--parallel) uses {named} GPUs, and there are {gpus} (--num-gpus): "
            f"take --num-gpus {named}{add}"
        )
    return {word: (left,) if one is None else one for word, one in degrees.items()}


def _hosts(num_hosts: int | None, gpus: int) -> int:
    if num_hosts is None:
        return next(n for n in range(math.ceil(gpus / GPUS_OF_A_HOST), gpus + 1) if gpus % n == 0)
    if gpus % num_hosts:
        raise UsageError(
            f"{gpus} GPUs (--num-gpus) cannot be shared equally by {num_hosts} machines "
            f"(--num-hosts): take --num-gpus {math.ceil(gpus / num_hosts) * num_hosts}"
        )
    return num_hosts


def _config(degrees: Mapping[str, tuple[int, ...]], gpus: int, hosts: int) -> ParallelConfig:
    data, replicate, shard = DataParallel.NONE, 1, 1
    for word, degree in degrees.items():
        if word == "hsdp":
            data, (replicate, shard) = DataParallel.FSDP, degree
        elif word == DataParallel.FSDP.value:
            data, (shard,) = DataParallel.FSDP, degree
        elif word in _DATA:
            data, (replicate,) = _DATA[word], degree
    context, tensor = degrees.get("cp", (1,))[0], degrees.get("tp", (1,))[0]
    experts = degrees.get(_EXPERTS, (1,))[0]
    pipeline = degrees.get("pp", (1,))[0]
    if context > 1 and data is DataParallel.NONE:
        data = DataParallel.FSDP  # over the ranks of a sequence, which hold the same parameters
    for word, ranks in (("cp", context), ("tp", tensor)):
        if ranks > 1 and data in (DataParallel.DDP, DataParallel.ZERO1):
            raise UsageError(
                f"{data.value} and {word} (--parallel) do not go together in PyTorch: take fsdp "
                f"with {word}={ranks}, or hsdp=Nx1"
            )
    return ParallelConfig(
        gpus=gpus,
        hosts=hosts,
        data=data,
        replicate=replicate,
        shard=shard,
        context=context,
        tensor=tensor,
        pipeline=pipeline,
        experts=_checked_experts(experts, degrees, shard),
    )


def _with_experts(
    degrees: dict[str, tuple[int, ...] | None], num_gpus: int | None, text: str
) -> dict[str, tuple[int, ...] | None]:
    """Adds fsdp where experts alone were asked for, and refuses what they cannot be planned with.

    Raises:
        UsageError: names the other word.
    """
    experts = degrees.get(_EXPERTS)
    if experts is None:
        return degrees
    others = [word for word in degrees if word not in (_EXPERTS, DataParallel.FSDP.value)]
    if others:
        raise UsageError(
            f"parallel {text!r} (--parallel): ep deals experts out to the GPUs of fsdp, and cannot "
            f"be planned together with {others[0]} yet: write fsdp=8,ep={experts[0]}"
        )
    if DataParallel.FSDP.value in degrees:
        return degrees
    return {DataParallel.FSDP.value: experts if num_gpus is None else None, **degrees}


def _checked_experts(experts: int, degrees: Mapping[str, tuple[int, ...]], shard: int) -> int:
    """Returns the degree of ep.

    Raises:
        UsageError: it does not divide the GPUs of fsdp.
    """
    if shard % experts:
        raise UsageError(
            f"ep={experts} (--parallel) deals experts out to the {shard} GPUs of fsdp, and does "
            f"not divide them: take {math.ceil(shard / experts) * experts} GPUs, or another degree"
        )
    return experts
