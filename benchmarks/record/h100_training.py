"""The step of a run of measurements/h100_peaks.csv, of which peaks and times are published.

In: a row. Out: its Step, and the name of the run in the file of step times.
"""

from __future__ import annotations

from benchmarks.record.records import Row, Step
from benchmarks.record.rows import MEASUREMENTS
from planner.config.target import Scalar

FILE = MEASUREMENTS / "h100_peaks.csv"
_MODEL_FILE = "benchmarks/accuracy/cases/h100_peaks.py"
_NETWORKS = {
    "t5-large": "hf_T5", "gpt2-large": "hf_GPT2", "llama-1b": "llama_v3_1b", "vit-huge": "timm_vit",
}  # fmt: skip
_PRECISIONS = {"fp32": "FP", "fp16": "HP", "autocast-fp16": "MP"}


def training_step(row: Row, *options: tuple[str, Scalar]) -> Step:
    """Returns the step of a run, with further options; the sequence is 0 tokens for images."""
    return Step(
        model=row["network"],
        card="h100",
        batch_size=int(row["batch_size"]),
        model_file=_MODEL_FILE,
        arguments=(
            ("network", row["network"]),
            ("precision", row["precision"]),
            ("sequence_length", _length(row)),
            ("checkpointed", _checkpointed(row)),
        ),
        options=(
            # The model file itself enters autocast: the runs had no GradScaler.
            ("precision", "fp16" if row["precision"] == "fp16" else "fp32"),
            ("build_on", "device"),
            *options,
        ),
    )


def published_name(row: Row) -> str:
    """Returns the name of the run in measurements/h100_training_step_time.csv."""
    shape = f"{_length(row)}--1" if _length(row) else "-1-224"
    setting = f"{_PRECISIONS[row['precision']]}-{_checkpointed(row)}"
    return f"memrun-{_NETWORKS[row['network']]}-{row['batch_size']}-{shape}-{setting}-step"


def _length(row: Row) -> int:
    return int(row["sequence_length"] or 0)


def _checkpointed(row: Row) -> bool:
    return row["checkpointed"] == "yes"
