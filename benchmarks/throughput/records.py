"""Records that pass between the stages: a published step time, its operators, the judged result.

Convention: seconds of one step with one micro-batch; an error is (predicted - measured) / measured.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from planner.config.target import Scalar
from planner.wire.trace import FlopSource, OperatorRecord, Phase, TensorShape


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One published step time.

    `arguments` are for the model file's build_model; `options` are the fields of StepConfig;
    `variables` are set in the environment of the child.
    """

    source: str
    name: str
    model: str
    card: str
    batch_size: int
    measured_s: float
    model_file: str
    arguments: tuple[tuple[str, Scalar], ...] = ()
    options: tuple[tuple[str, Scalar], ...] = ()
    variables: tuple[tuple[str, str], ...] = ()
    image_size: int | None = None
    tf32: bool = False  # matrix products and convolutions in TF32, if the card has it

    def document(self) -> str:
        """Returns the case as one line of JSON."""
        return json.dumps(asdict(self), sort_keys=True)


def case_of(document: dict[str, Any]) -> Case:
    """Reads the case that `Case.document` wrote."""
    pairs = {
        key: tuple((name, value) for name, value in document[key])
        for key in ("arguments", "options", "variables")
    }
    return Case(**{**document, **pairs})


def operators_of(documents: list[dict[str, Any]]) -> tuple[OperatorRecord, ...]:
    """Reads operators from the JSON that OperatorRecord.to_dict makes."""
    return tuple(
        OperatorRecord(
            name=one["name"],
            phase=Phase(one["phase"]),
            inputs=tuple(_tensor(tensor) for tensor in one["inputs"]),
            outputs=tuple(_tensor(tensor) for tensor in one["outputs"]),
            calls=one["calls"],
            flops=one["flops"],
            flop_source=FlopSource(one["flop_source"]),
            read_bytes=one["read_bytes"],
            written_bytes=one["written_bytes"],
        )
        for one in documents
    )


def _tensor(document: dict[str, Any]) -> TensorShape:
    return TensorShape(**{**document, "shape": tuple(document["shape"])})
