"""Reads the published step times, and the step of each.

In: the CSV files of benchmarks/measurements. Out: Cases, by source. Convention: the file's own
README names the source of a number.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.h100_peaks.measurements import Measurement, read_measurements
from benchmarks.throughput.records import Case

_BENCHMARKS = Path(__file__).resolve().parents[1]
MEASUREMENTS = _BENCHMARKS / "measurements"
_TIMM_TRAIN = str(_BENCHMARKS / "accuracy" / "cases" / "timm_train.py")
_TIMM_INFER = str(_BENCHMARKS / "accuracy" / "cases" / "timm_infer.py")
_H100 = str(_BENCHMARKS / "h100_peaks" / "cases.py")
_HELD_OUT = Path(__file__).with_name("held_out.txt")
_OWN = str(Path(__file__).with_name("models.py"))


def held_out() -> frozenset[str]:
    """Returns the names of cases that are used to judge constants and never to fit them."""
    lines = _HELD_OUT.read_text(encoding="utf-8").splitlines()
    return frozenset(line for line in lines if line and not line.startswith("#"))


def _rows(name: str) -> Iterator[dict[str, str]]:
    with (MEASUREMENTS / name).open(newline="", encoding="utf-8") as file:
        yield from csv.DictReader(file)


def _timm_train(source: str, file: str, *, channels_last: bool) -> Iterator[Case]:
    """Yields steps of timm 0.6 with torch 1.12: attention is written out."""
    for row in _rows(file):
        yield Case(
            source=source,
            name=f"{source}-{row['model']}-{row['train_img_size']}",
            model=row["model"],
            card="rtx3090",
            batch_size=int(row["train_batch_size"]),
            measured_s=float(row["train_step_time"]) / 1e3,
            model_file=_TIMM_TRAIN,
            arguments=(("name", row["model"]),),
            options=(("channels_last", channels_last),),
            variables=(("TIMM_FUSED_ATTN", "0"),),
            image_size=int(row["train_img_size"]),
        )


def _timm_infer(source: str, file: str, card: str, *, fused: bool) -> Iterator[Case]:
    """Yields inference steps; `fused`: with fused parts, as the parameter counts show."""
    for row in _rows(file):
        yield Case(
            source=source,
            name=f"{source}-{row['model']}-{row['infer_img_size']}",
            model=row["model"],
            card=card,
            batch_size=int(row["infer_batch_size"]),
            measured_s=float(row["infer_step_time"]) / 1e3,
            model_file=_TIMM_INFER,
            arguments=(("name", row["model"]), *(() if fused else (("fused", False),))),
            options=(("mode", "infer"),),
            image_size=int(row["infer_img_size"]),
        )


def _h100() -> Iterator[Case]:
    """Yields the runs of benchmarks/h100_peaks, found by the names of their source."""
    steps = {row["case_id"]: row for row in _rows("h100_training_step_time.csv")}
    for run in read_measurements():
        row = steps[_published_name(run)]
        half = run.precision == "fp16"
        yield Case(
            source="h100-training",
            name=f"h100-training-{run.case}",
            model=run.network,
            card="h100",
            batch_size=run.batch_size,
            measured_s=float(row["value"]) / 1e3,
            model_file=_H100,
            arguments=(
                ("network", run.network),
                ("precision", run.precision),
                ("sequence_length", run.sequence_length),
                ("checkpointed", run.checkpointed),
            ),
            options=(("precision", "fp16" if half else "fp32"), ("build_on", "device")),
        )


_NETWORKS = {
    "t5-large": "hf_T5", "gpt2-large": "hf_GPT2", "llama-1b": "llama_v3_1b", "vit-huge": "timm_vit",
}  # fmt: skip
_PRECISIONS = {"fp32": "FP", "fp16": "HP", "autocast-fp16": "MP"}


def _published_name(run: Measurement) -> str:
    length = run.sequence_length
    size = f"{run.batch_size}-{length}--1" if length else f"{run.batch_size}--1-224"
    precision = _PRECISIONS[run.precision]
    return f"memrun-{_NETWORKS[run.network]}-{size}-{precision}-{run.checkpointed}-step"


def _single(source: str, file: str) -> Iterator[Case]:
    """Yields networks of models.py, with every setting in a column of its own."""
    for row in _rows(file):
        options: list[tuple[str, str | bool]] = [
            ("mode", row["mode"]),
            ("precision", row["precision"]),
            ("channels_last", row["channels_last"] == "yes"),
        ]
        if row["mode"] == "train":
            options.append(("optimizer", row["optimizer"]))
        yield Case(
            source=source,
            name=f"{source}-{row['case']}",
            model=row["model"],
            card=row["card"],
            batch_size=int(row["batch_size"]),
            measured_s=float(row["step_s"]),
            model_file=f"{_OWN}:{row['model']}",
            options=tuple(options),
            tf32=row["tf32"] == "yes",
        )


SOURCES: dict[str, Callable[[], Iterator[Case]]] = {
    "rtx3090-nchw": lambda: _timm_train(
        "rtx3090-nchw", "throughput_timm_train_rtx3090_nchw.csv", channels_last=False
    ),
    "rtx3090-nhwc": lambda: _timm_train(
        "rtx3090-nhwc", "throughput_timm_train_rtx3090_nhwc.csv", channels_last=True
    ),
    "rtx4090-infer": lambda: _timm_infer(
        "rtx4090-infer", "throughput_timm_infer_rtx4090.csv", "rtx4090", fused=False
    ),
    "rtx5090-infer": lambda: _timm_infer(
        "rtx5090-infer", "throughput_timm_infer_rtx5090.csv", "rtx5090", fused=True
    ),
    "h100-training": _h100,
    "nvidia-resnet50": lambda: _single("nvidia-resnet50", "nvidia_resnet50.csv"),
    "nvidia-convnets": lambda: _single("nvidia-convnets", "nvidia_convnets.csv"),
    "neusight": lambda: _single("neusight", "neusight_training.csv"),
}
