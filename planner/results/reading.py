"""Turns a JSON document of `--json` back into the result, with the figures it holds.

In: documents as `to_dict` gives them, also of older planners, which lack later keys. Out: Estimate,
Curve, CardComparison, Inspection, Verification, Advice, Parallelization. Parts that a document does
not hold have their defaults: the blocks of a breakdown, the other names of a card, the requested
`optimizer` and `build_on` of a step.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from planner.config.step import SizeAt, StepConfig
from planner.config.weights import WeightDtype
from planner.cost.energy import StepCost
from planner.cost.price import HourlyPrice
from planner.input_pipeline.host_ram import HostRam, Room
from planner.memory.stages import StagePeak
from planner.results.advice import Advice, CardChoice, Lever, Plan, Trial
from planner.results.breakdown_summary import BreakdownSummary, LargestBlock
from planner.results.comparison import CardComparison
from planner.results.curve import Curve
from planner.results.device_estimate import DeviceEstimate, WhatIf
from planner.results.document_record import Document, record_of
from planner.results.estimate import Estimate
from planner.results.full_state import FullState
from planner.results.inspection import Inspection
from planner.results.parallelization import (
    HeldBytes,
    Parallelization,
    ParallelPlan,
    SmallestJob,
    SpreadTrial,
)
from planner.results.ranks import RanksResult
from planner.results.step_time import HostNeeds, StepTime
from planner.results.values import NO_VALUES_READ, ValuesResult
from planner.results.verification import Figures, Verification
from planner.timing.bottleneck import Bottleneck, Bound
from planner.timing.measured.kernel_time import TimeSource
from planner.wire.module_counts import ModelCounts, OperatorCalls, StepCounts
from planner.wire.trace import Counts, Origin, Phase, TensorCategory
from planner.wire.value_reads import ValueRead


def estimate_of(document: Document) -> Estimate:
    """Returns the Estimate of a document."""
    config, counts = document["config"], document["counts"]
    return record_of(
        Estimate,
        {
            **document,
            "optimizer": config["optimizer"],
            "build_on": config["build_on"] or "",  # of a script it is not known
        },
        config=_config({**config, "optimizer": None, "build_on": None}),
        counts=_counts(counts),
        gpus=tuple(_device(one) for one in document["gpus"]),
        step=_step_counts(counts),
        ranks=_ranks(document),
        **_shared(document),
    )


def curve_of(document: Document) -> Curve:
    """Returns the Curve of a document."""
    return record_of(
        Curve,
        document,
        config=_config(document["config"]),
        weight_dtypes=_weights(document),
        **_shared(document),
    )


def comparison_of(document: Document) -> CardComparison:
    """Returns the CardComparison of a document; its cards are in the order of the ranking."""
    return record_of(
        CardComparison,
        document,
        config=_config(document["config"]),
        weight_dtypes=_weights(document),
        **_shared(document),
    )


def inspection_of(document: Document) -> Inspection:
    """Returns the Inspection of a document; its config has batch, precision, inputs, sequence."""
    config, counts = document["config"], document["counts"]
    model = record_of(
        ModelCounts,
        {**document, **config, **counts},
        counts=_counts(counts),
        step=record_of(StepCounts, counts, uncounted_operators=_uncounted(counts)),
        assumptions=(),
        warnings=(),
    )
    return record_of(
        Inspection,
        {**document, "depth": config["depth"]},
        config=_config({**config, "build_on": None}),
        model=model,
        **_shared(document),
    )


def verification_of(document: Document) -> Verification:
    """Returns the Verification of a document."""
    config, predicted, measured = (
        document["config"], document["predicted"], document["measured"],
    )  # fmt: skip
    return record_of(
        Verification,
        {**document, "optimizer": config["optimizer"]},
        config=_config({**config, "optimizer": config.get("optimizer_requested")}),
        predicted=record_of(Figures, predicted),
        measured=record_of(Figures, measured),
        predicted_categories=_pairs(predicted.get("breakdown_bytes")),
        measured_categories=_pairs(measured.get("breakdown_bytes")),
        weight_dtypes=_weights(document),
        **_shared(document),
    )


def advice_of(document: Document) -> Advice:
    """Returns the Advice of a document."""
    plan = document["plan"]
    return record_of(
        Advice,
        document,
        config=_config(document["config"]),
        weight_dtypes=_weights(document),
        baseline=record_of(Trial, document["baseline"]),
        plan=None if plan is None else record_of(Plan, plan),
        trials=tuple(record_of(Trial, one) for one in document["trials"]),
        levers=tuple(record_of(Lever, one) for one in document["levers"]),
        other_cards=tuple(record_of(CardChoice, one) for one in document["other_cards"]),
        **_shared(document),
    )


def parallelization_of(document: Document) -> Parallelization:
    """Returns the Parallelization of a document."""
    plan = document["plan"]
    return record_of(
        Parallelization,
        document,
        config=_config(document["config"]),
        weight_dtypes=_weights(document),
        plan=None if plan is None else record_of(ParallelPlan, plan, spread=_spread(plan)),
        spreads=tuple(_spread(one) for one in document["spreads"]),
        held=tuple(record_of(HeldBytes, one) for one in document["held"]),
        smallest=tuple(record_of(SmallestJob, one) for one in document["smallest"]),
        levers=tuple(record_of(Lever, one) for one in document["levers"]),
        **_shared(document),
    )


def _spread(document: Document) -> SpreadTrial:
    return record_of(SpreadTrial, document, cost_per_million=_range(document, "cost_per_million"))


def _shared(document: Document) -> dict[str, Any]:
    """Returns fields that most results share and that have another form in the document."""
    values = document.get("values")
    return {
        "values": NO_VALUES_READ if values is None else _values(values),
        "model_arguments": _pairs(document.get("model_arguments")),
    }


def _config(config: Document) -> StepConfig:
    sizes = config.get("size_at") or {}
    return record_of(
        StepConfig,
        config,
        optimizer_arguments=_pairs(config.get("optimizer_arguments")),
        size_at=tuple(
            SizeAt(file=place.rpartition(":")[0], line=int(place.rpartition(":")[2]), size=size)
            for place, size in sizes.items()
        ),
    )


def _ranks(document: Document) -> RanksResult | None:
    """Returns the ranks; None also for a document of an older planner."""
    ranks = document.get("ranks")
    return None if ranks is None else msgspec.convert(ranks, RanksResult)


def _counts(counts: Document) -> Counts:
    return record_of(Counts, counts, weight_dtypes=_weights(counts))


def _weights(document: Document) -> tuple[WeightDtype, ...]:
    return tuple(
        WeightDtype(dtype=one["dtype"], elements=one["elements"], size_bytes=one["bytes"])
        for one in document.get("weight_dtypes") or ()
    )


def _step_counts(counts: Document) -> StepCounts | None:
    if counts.get("step_flops") is None:
        return None
    return record_of(StepCounts, counts, uncounted_operators=_uncounted(counts))


def _uncounted(counts: Document) -> tuple[OperatorCalls, ...]:
    found = counts.get("uncounted_operators") or {}
    return tuple(OperatorCalls(name=name, calls=calls) for name, calls in found.items())


def _values(values: Document) -> ValuesResult:
    return record_of(
        ValuesResult,
        values,
        reads=tuple(
            record_of(
                ValueRead, read, bounds=_range(read, "possible"), is_fixed=read.get("size_given")
            )
            for read in values["reads"]
        ),
    )


def _device(entry: Document) -> DeviceEstimate:
    return record_of(
        DeviceEstimate,
        entry,
        what_ifs=tuple(record_of(WhatIf, one) for one in entry.get("alloc_conf_what_ifs") or ()),
        breakdown_summary=_summary(entry),
        time=None if entry.get("time") is None else _time(entry["time"]),
        host=None if entry.get("host") is None else _host(entry["host"]),
        cost=None if entry.get("cost") is None else _cost(entry["cost"]),
        full_state=_full_state(entry),
    )


def _full_state(entry: Document) -> FullState | None:
    """Returns it; None also for a document of an older planner."""
    found = entry.get("full_state")
    return None if found is None else record_of(FullState, found)


def _summary(entry: Document) -> BreakdownSummary | None:
    if entry.get("breakdown_bytes") is None:
        return None
    return record_of(
        BreakdownSummary,
        entry,
        categories=_pairs(entry["breakdown_bytes"]),
        modules=_pairs(entry["module_bytes"]),
        stages=tuple(record_of(StagePeak, one) for one in entry.get("stage_peaks") or ()),
        largest_blocks=tuple(
            LargestBlock(
                block_bytes=one["bytes"],
                category=TensorCategory(one["category"]),
                phase=Phase(one["phase"]),
                origin=record_of(Origin, one),
            )
            for one in entry["largest_tensors"]
        ),
    )


def _time(time: Document) -> StepTime:
    found = Bottleneck(
        bound=Bound(time["bound"]),
        shares=tuple((Bound(bound), share) for bound, share in time["shares"].items()),
        runner_up=None if time["runner_up"] is None else Bound(time["runner_up"]),
        takes_over_factor=time["takes_over_factor"],
    )
    return record_of(
        StepTime,
        time,
        bottleneck=found,
        phases_s=tuple((Phase(phase), seconds) for phase, seconds in time["phases_s"].items()),
        stages_s=tuple((time.get("stages_s") or {}).items()),
        interval_s=_range(time, "interval_s", "interval"),
        time_sources=tuple(
            (TimeSource(source), share) for source, share in time.get("time_sources", {}).items()
        ),
    )


def _host(host: Document) -> HostNeeds:
    parts = host["ram_parts_bytes"]
    ram = HostRam(
        base_bytes=parts["process"],
        workers_bytes=parts["workers"],
        prefetch_bytes=parts["prefetched batches"],
        pinned_bytes=parts["pinned batches"],
        dataset_bytes=parts["data set"],
        checkpoint_bytes=parts["checkpoint"],
        offloaded_bytes=parts.get("offloaded", 0),
        shm_peak_bytes=host["shm_peak_bytes"],
    )
    return record_of(
        HostNeeds,
        host,
        ram=ram,
        ram_room=Room(host["verdict"]),
        shm_room=Room(host["shm_verdict"]),
    )


def _cost(cost: Document) -> StepCost:
    price = cost["price_per_hour"]
    return record_of(
        StepCost,
        cost,
        price=None
        if price is None
        else HourlyPrice(low=price[0], high=price[1], currency=cost["currency"], basis=""),
    )


def _pairs(found: Mapping[str, Any] | None) -> tuple[tuple[str, Any], ...]:
    return tuple((found or {}).items())


def _range(document: Document, *names: str) -> Any:
    """Returns the first of these keys that is there, as a pair."""
    for name in names:
        if document.get(name) is not None:
            low, high = document[name]
            return low, high
    return None
