"""Inspection and what it is made of: rows by path, and the JSON form."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from planner.errors import UsageError
from planner.results.inspection import Inspection
from planner.wire.trace import FlopSource, OperatorRecord, Phase, TensorShape


def test_rows_by_path(inspection: Inspection) -> None:
    assert inspection.module() is inspection.modules[0]
    assert inspection.module("blocks.1").depth == 2
    assert inspection.module().depth == 0
    with pytest.raises(UsageError, match=r"no module 'blokcs' down to depth 2.*'blocks'"):
        inspection.module("blokcs")


def test_json_form(inspection: Inspection) -> None:
    document = json.loads(json.dumps(inspection.to_dict()))
    assert list(document) == [
        "schema_version", "target", "engine", "gpu", "versions", "config", "counts", "structure",
        "flop_rules", "modules", "operators", "assumptions", "warnings", "values",
        "model_arguments", "gpu_id",
    ]  # fmt: skip
    assert document["counts"] == {
        "parameters": 30, "trainable_parameters": 20, "buffers": 0,
        "weight_dtypes": [{"dtype": "float32", "elements": 30, "bytes": 120}],
        "forward_flops_per_sample": 1250, "step_flops": 30000, "recomputed_flops": 0,
        "activations_per_sample": 8,
        "uncounted_operators": {"aten::fft_rfft": 2, "my::kernel": 1},
        "forward_flops_by_torch": 9900,
    }  # fmt: skip
    assert (document["structure"], document["flop_rules"]) == ("module hooks", "fvcore")
    assert document["modules"][2] == {
        "path": "blocks.0", "kind": "Block", "depth": 2, "parameters": 10,
        "trainable_parameters": 10, "forward_flops": 4000, "activations": 32, "saved_bytes": 1024,
        "read_bytes": 1500, "written_bytes": 500, "arithmetic_intensity_flops_per_byte": 2.0,
    }  # fmt: skip


def test_json_form_of_operators(inspection: Inspection) -> None:
    record = OperatorRecord(
        name="aten::relu",
        phase=Phase.FORWARD,
        inputs=(TensorShape(shape=(2, 3), dtype="float32"),),
        outputs=(TensorShape(shape=(2, 3), dtype="float32"),),
        calls=4,
        flops=None,
        flop_source=FlopSource.ELEMENTWISE,
        read_bytes=24,
        written_bytes=24,
    )
    counted = replace(inspection, model=replace(inspection.model, operators=(record,)))
    assert json.loads(json.dumps(counted.to_dict()))["operators"] == [
        {
            "name": "aten::relu", "phase": "forward",
            "inputs": [{"shape": [2, 3], "dtype": "float32", "number": 1, "channels_last": False}],
            "outputs": [{"shape": [2, 3], "dtype": "float32", "number": 1, "channels_last": False}],
            "calls": 4, "flops": None, "flop_source": "elementwise",
            "read_bytes": 24, "written_bytes": 24,
        }
    ]  # fmt: skip


def test_no_bytes_no_intensity(inspection: Inspection) -> None:
    assert inspection.module("flatten").arithmetic_intensity_flops_per_byte is None


def test_the_sequence_length_is_in_the_json(inspection: Inspection) -> None:
    assert inspection.to_dict()["config"]["sequence_length"] is None
    longer = replace(inspection, config=replace(inspection.config, sequence_length=128))
    assert longer.to_dict()["config"]["sequence_length"] == 128
