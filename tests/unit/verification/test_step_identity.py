"""Which step a verification was of: all of its settings are kept, and none is mistaken."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from planner.config.parallel import DataParallel, ParallelConfig
from planner.config.step import (
    BuildOn,
    CompileMode,
    DataDependent,
    InputSpec,
    Mode,
    Offload,
    OptimizerName,
    Precision,
    SizeAt,
    StepConfig,
)
from planner.config.weights import WeightDtype
from planner.results.verification import Verification
from planner.units import MIB
from planner.verification import history
from planner.verification.calibration import calibrate, last_of_each_step, models, reserved_offset
from planner.verification.history import HistoryEntry
from planner.verification.step_identity import OF_THE_RUN, StepIdentity, step_identity

# A value of each field that is not its default.
OTHER: dict[str, Any] = {
    "batch_size": 3,
    "sequence_length": 128,
    "mode": Mode.INFER,
    "precision": Precision.BF16,
    "optimizer": OptimizerName.ADAMW_FUSED,
    "optimizer_arguments": (("lr", 0.1),),
    "inputs": (InputSpec(shape=(3, 4)),),
    "channels_last": True,
    "checkpoint_activations": True,
    "accumulate": 2,
    "set_to_none": False,
    "steps": 5,
    "build_on": BuildOn.CPU,
    "alloc_conf": "expandable_segments:True",
    "data_dependent": DataDependent.MOST,
    "size_at": (SizeAt(file="net.py", line=3, size=4),),
    "batch_from_data": True,
    "clip_grad_norm": 1.0,
    "ema": 0.9,
    "optimizer_in_backward": True,
    "offload": (Offload.OPTIMIZER,),
    "parallel": ParallelConfig(gpus=2, data=DataParallel.DDP, replicate=2),
    "checkpoint_blocks": "every:2",
    "chunked_loss": 8,
    "compile": CompileMode.DEFAULT,
}
# The keys of `config` as planner kept them before all were kept.
OLD_KEYS = (
    "batch_size", "sequence_length", "precision", "mode", "optimizer", "steps", "accumulate",
    "alloc_conf", "clip_grad_norm", "ema",
)  # fmt: skip


def of(verification: Verification) -> StepIdentity:
    return step_identity(json.loads(json.dumps(verification.to_dict())))


def with_setting(verification: Verification, name: str) -> Verification:
    """The verification of a step with one other setting."""
    return replace(verification, config=replace(verification.config, **{name: OTHER[name]}))


def without_scaler(verification: Verification) -> Verification:
    """The verification of a step that may have each setting: one of them refuses a GradScaler."""
    config = replace(verification.config, precision=Precision.AMP_BF16)
    return replace(verification, config=config)


def make_old(store: Path, *ids: int) -> None:
    """Entries as an older planner has kept them."""
    with sqlite3.connect(store) as connection:
        for number in ids:
            query = "SELECT document FROM verifications WHERE id = ?"
            (text,) = connection.execute(query, [number]).fetchone()
            document = json.loads(text)
            document["config"] = {key: document["config"][key] for key in OLD_KEYS}
            del document["model_arguments"], document["weight_dtypes"]
            connection.execute(
                "UPDATE verifications SET document = ? WHERE id = ?", [json.dumps(document), number]
            )


def kept(*verifications: Verification) -> tuple[HistoryEntry, ...]:
    for one in verifications:
        history.add(one)
    return history.entries()


# No settings of a caller: a verification runs a whole generation, at the size of its task.
_MADE = ("window", "size")
SETTINGS = [field.name for field in fields(StepConfig) if field.name not in _MADE]


@pytest.mark.parametrize("name", SETTINGS)
def test_every_setting_is_kept_and_makes_another_step(make: Any, name: str) -> None:
    """A new field of StepConfig fails here until it is kept, or named in OF_THE_RUN."""
    plain = without_scaler(make())
    other = with_setting(plain, name)
    assert name in plain.to_dict()["config"]
    assert plain.to_dict()["config"] != other.to_dict()["config"]
    assert of(plain).is_whole
    assert of(other).is_whole
    assert of(plain).may_be(of(other)) is of(other).may_be(of(plain)) is (name in OF_THE_RUN)


@pytest.mark.parametrize(
    "change",
    [
        {"model_arguments": (("layers", 48),)},
        {"target": "other.py"},
        {"weight_dtypes": (WeightDtype(dtype="float32", elements=7, size_bytes=28),)},
    ],
    ids=str,
)
def test_another_model_is_another_step(make: Any, change: dict[str, Any]) -> None:
    assert not of(make()).may_be(of(replace(make(), **change)))
    assert of(make()).may_be(of(make(reserved_mib=7, driver=None)))


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize("name", sorted(set(OTHER) - set(OF_THE_RUN)))
def test_a_step_does_not_replace_another(make: Any, name: str) -> None:
    plain, later = (without_scaler(make(reserved_mib=mib)) for mib in (1010, 1090))
    entries = kept(plain, with_setting(later, name), replace(plain))
    assert [one.id for one in last_of_each_step(entries)] == [2, 3]


def test_an_old_entry_stays_readable(store: Path, make: Any) -> None:
    kept(make(), with_setting(make(), "accumulate"))
    make_old(store, 1, 2)
    old, accumulated = history.entries()
    assert not old.step.is_whole
    assert old.to_dict()["config"]["batch_size"] == 8
    assert not old.step.may_be(accumulated.step), "what both know tells them apart"
    assert accumulated.step.settings == ("accumulate 2", "optimizer AdamW")
    found = calibrate([old])
    assert found is not None
    assert found.context_overhead_bytes == 150 * MIB


def test_an_old_entry_counts_where_no_other_may_be_its_step(store: Path, make: Any) -> None:
    checkpointed = with_setting(make(target="a.py", reserved_mib=1050), "checkpoint_activations")
    kept(
        make(target="a.py", reserved_mib=1100),  # 1, old
        checkpointed,  # 2
        make(target="b.py", reserved_mib=1010),  # 3, old
        make(target="b.py", reserved_mib=1020),  # 4, old
        make(target="c.py", reserved_mib=1030),  # 5
        make(target="c.py", reserved_mib=1900),  # 6, old, after a newer planner
    )
    make_old(store, 1, 3, 4, 6)
    found = last_of_each_step(history.entries())
    assert [one.id for one in found] == [2, 4, 5]
    assert reserved_offset(history.entries()) == 30 * MIB  # of 50, 20 and 30


@pytest.mark.usefixtures("store")
def test_settings_of_one_model_are_no_models(make: Any) -> None:
    """Three steps of one model correct nothing, and each counts beside two others."""
    names = ("checkpoint_activations", "channels_last", "accumulate")
    own = [with_setting(make(target="a.py", reserved_mib=1040), name) for name in names]
    entries = kept(*own)
    assert (len(last_of_each_step(entries)), models(entries)) == (3, 1)
    assert reserved_offset(entries) is None
    others = kept(
        make(target="b.py", reserved_mib=1000),
        replace(make(target="b.py", reserved_mib=1010), model_arguments=(("layers", 2),)),
    )
    assert models(others) == 3
    assert reserved_offset(others) == 40 * MIB


@pytest.mark.usefixtures("store")
def test_a_path_that_is_no_text_is_kept_and_found(make: Any) -> None:
    target = b"n\xff.py".decode("utf-8", "surrogateescape")
    (entry,) = kept(make(target=target))
    assert entry.target == "n\\udcff.py"
    assert entry.to_dict()["target"] == target
    assert history.entries(target=target) == (entry,)


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize("number", [10**20, 1 << 63])
def test_an_id_beyond_all(make: Any, number: int) -> None:
    kept(make())
    for answer in (history.entry, lambda number: history.delete([number])):
        with pytest.raises(Exception, match=f"no entry {number}"):
            answer(number)
