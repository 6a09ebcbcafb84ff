"""The published speeds of engines, as loads.

In: benchmarks/measurements/serving_speed.csv, a row a load. Out: SpeedRow. Convention: `steady`
loads have a fixed number of users; `most` have as many requests as the engine takes; a `batch` is
read and written together, without others. None: the row has no such figure.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from planner.config.serving import EngineName, ServingConfig

SPEED_FILE = Path(__file__).parents[1] / "measurements" / "serving_speed.csv"
_VERSION = re.compile(r"(\d+)\.(\d+)")
# Of trtllm-bench's tables: "a higher KV cache percentage by setting ... 0.95" in many cases.
_HIGH_SHARE, _HIGH_SHARE_SOURCE = 0.95, "TensorRT-LLM 1.0"
_FP8 = {EngineName.SGLANG: "fp8_e4m3"}


class LoadKind(str, Enum):
    """How requests come."""

    STEADY = "steady"
    """A fixed number of users, who ask again."""
    MOST = "most"
    """As many as the engine takes, from a queue that does not end."""
    BATCH = "batch"
    """One batch alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeedRow:
    """A published load with its figures."""

    source: str
    url: str
    kind: LoadKind
    model: str
    card: str
    config: ServingConfig
    users: int | None
    prompt: int
    output: int
    tokens_per_s: float | None
    tpot_s: float | None
    ttft_s: float | None
    note: str

    @property
    def name(self) -> str:
        """Returns the load in a few words."""
        users = "most" if self.users is None else str(self.users)
        return f"{users} x {self.prompt} + {self.output}"


def speed_rows(path: Path = SPEED_FILE) -> list[SpeedRow]:
    """Reads the published loads."""
    with path.open(newline="", encoding="utf-8") as file:
        return [_row(record) for record in csv.DictReader(file)]


def _row(record: Mapping[str, str]) -> SpeedRow:
    def number(key: str, unit: float = 1.0) -> float | None:
        return float(record[key]) * unit if record[key] else None

    prompt, output, kind = int(record["prompt"]), int(record["output"]), LoadKind(record["kind"])
    return SpeedRow(
        source=record["source"],
        url=record["url"],
        kind=kind,
        model=record["model"],
        card=record["card"],
        config=_config(record, None if kind is LoadKind.BATCH else prompt + output),
        users=int(record["users"]) if record["users"] else None,
        prompt=prompt,
        output=output,
        tokens_per_s=number("output_tokens_per_s"),
        tpot_s=number("tpot_ms", 1e-3),
        ttft_s=number("ttft_ms", 1e-3),
        note=record["note"],
    )


def _config(record: Mapping[str, str], length: int | None) -> ServingConfig:
    engine = EngineName(record["engine"])
    match = _VERSION.match(record["version"])
    is_vllm = engine is EngineName.VLLM and match is not None
    return ServingConfig(
        engine=engine,
        version=(int(match[1]), int(match[2])) if is_vllm and match else None,
        tensor_parallel=int(record["ranks"]),
        max_model_len=length,
        quant=record["quant"] or None,
        kv_dtype=_FP8.get(engine, "fp8") if record["kv_dtype"] else None,
        utilization=_HIGH_SHARE if record["source"] == _HIGH_SHARE_SOURCE else None,
    )
