"""Jobs as users have them, each with a known figure: measured and published, or by arithmetic.

In: nothing. Out: CASES. Convention: a figure in bytes is compared as predicted / right. If it was
published without versions, or scaled up from a smaller run, the tolerance is wider.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

from planner.units import GIB, MIB

EXACT = 0.03  # measured in bytes, or by arithmetic
LOOSE = 0.10  # published without versions, or scaled up


class Figure(str, Enum):
    """The figure of an estimate that is compared."""

    RUNS = "runs"
    ALLOCATED = "peak allocated"
    SAVED = "saved activation"
    STATE = "optimizer state"
    LARGEST = "largest batch"
    FITS = "fits"
    READS = "known reads"
    BREAKDOWN = "has a breakdown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A job. `right` is in bytes, a batch, or 0 and 1 for no and yes; `needs` are its packages."""

    name: str
    file: str
    gpu: str
    batch_size: int
    figure: Figure
    right: float
    tolerance: float
    source: str
    needs: tuple[str, ...] = ()
    options: tuple[tuple[str, Any], ...] = ()


_FMS = "foundation-model-stack/fms-acceleration, scripts/benchmarks/refs/a100_80gb.csv"
_GENERATED = (("mode", "infer"), ("precision", "bf16"))

CASES = (
    Case(
        name="mixture of experts, saved", file="moe_plain.py", gpu="a100", batch_size=8,
        figure=Figure.SAVED, right=3075 * MIB, tolerance=EXACT,
        source="the CPU with real values, saved-tensor hooks: 96.1 MiB a sample and layer",
    ),
    Case(
        name="mixture of experts, largest", file="moe_plain.py", gpu="a100", batch_size=8,
        figure=Figure.LARGEST, right=190, tolerance=LOOSE, source="the same, scaled to the card",
    ),
    Case(
        name="graph network, full batch", file="gcn_arxiv.py", gpu="rtx3090", batch_size=1,
        figure=Figure.ALLOCATED, right=6.0 * GIB, tolerance=LOOSE, needs=("torch_geometric",),
        source="the CPU with real values at a tenth (611 MiB); 2 x 2484941 x 256 x 4 bytes",
    ),
    Case(
        name="Faster R-CNN", file="fasterrcnn.py", gpu="v100-sxm2-16gb", batch_size=2,
        figure=Figure.ALLOCATED, right=5.2e9, tolerance=LOOSE, needs=("torchvision",),
        source="pytorch/vision#937, #962",
    ),
    Case(
        name="generate, 256 tokens", file="generate.py", gpu="rtx4090", batch_size=8,
        figure=Figure.RUNS, right=1, tolerance=0, needs=("transformers",),
        options=(*_GENERATED, ("model_arguments", {"new": 256}), ("steps", 1)),
        source="the loop is bounded",
    ),
    Case(
        name="packed sequences", file="rnn_packed.py", gpu="t4", batch_size=64,
        figure=Figure.READS, right=1, tolerance=0, source="any PyTorch runs it",
    ),
    Case(
        name="batch of graphs", file="pyg_batch.py", gpu="t4", batch_size=64,
        figure=Figure.RUNS, right=1, tolerance=0, needs=("torch_geometric",),
        source="torch_geometric's tutorial",
    ),
    Case(
        name="sparse adjacency", file="gcn_sparse.py", gpu="rtx3090", batch_size=1,
        figure=Figure.RUNS, right=1, tolerance=0, source="any PyTorch runs it",
    ),
    Case(
        name="YOLOv8n with its loss", file="yolo_n.py", gpu="rtx4060", batch_size=16,
        figure=Figure.RUNS, right=1, tolerance=0, needs=("ultralytics",),
        options=(("precision", "amp-fp16"),), source="any card runs it",
    ),
    Case(
        name="LightningModule", file="lightning_module.py:Classifier", gpu="t4", batch_size=64,
        figure=Figure.STATE, right=42.7 * MIB, tolerance=EXACT, needs=("lightning",),
        options=(("inputs", "3x224x224"),), source="SGD with momentum: 4 bytes a parameter",
    ),
    Case(
        name="GAN, two optimizers", file="gan_two_optimisers.py", gpu="t4", batch_size=128,
        figure=Figure.RUNS, right=1, tolerance=0, source="the file",
    ),
    Case(
        name="8-bit Adam", file="adam8bit.py", gpu="a100", batch_size=8, figure=Figure.STATE,
        right=402.9e6 * 2 * (1 + 4 / 256), tolerance=EXACT, needs=("bitsandbytes",),
        source="two states of a byte, a float for 256",
    ),
    Case(
        name="QLoRA, Mistral 7B", file="mistral_qlora.py", gpu="a100-sxm4-80gb", batch_size=4,
        figure=Figure.ALLOCATED, right=15.86e9, tolerance=EXACT,
        needs=("transformers", "peft", "bitsandbytes"), source=f"{_FMS}, accelerated-peft-bnb",
    ),
    Case(
        name="full fine-tuning, Mistral 7B", file="mistral_full.py", gpu="a100-sxm4-80gb",
        batch_size=4, figure=Figure.ALLOCATED, right=72_971_724_288, tolerance=EXACT,
        needs=("transformers",), source=f"{_FMS}, row 0",
    ),
    Case(
        name="LoRA, Mistral 7B", file="mistral_lora.py", gpu="a100-sxm4-80gb", batch_size=4,
        figure=Figure.ALLOCATED, right=26_108_963_328, tolerance=EXACT,
        needs=("transformers", "peft"), source=f"{_FMS}, row 12",
    ),
    Case(
        name="RoBERTa classifier", file="roberta_cls.py", gpu="a100-pcie-40gb", batch_size=64,
        figure=Figure.ALLOCATED, right=17e9, tolerance=LOOSE, needs=("transformers",),
        options=(("sequence_length", 96), ("model_arguments", {"attention": "eager"})),
        source="huggingface/peft#675",
    ),
    Case(
        name="RoBERTa classifier, LoRA", file="roberta_cls.py", gpu="a100-pcie-40gb", batch_size=64,
        figure=Figure.ALLOCATED, right=12e9, tolerance=LOOSE, needs=("transformers", "peft"),
        options=(
            ("sequence_length", 96), ("model_arguments", {"attention": "eager", "lora": True}),
        ),
        source="huggingface/peft#675",
    ),
    Case(
        name="Swin UNETR", file="swinunetr_brats.py", gpu="rtx4070", batch_size=1,
        figure=Figure.FITS, right=0, tolerance=0, needs=("monai", "einops"),
        source="Project-MONAI/MONAI#8042",
    ),
    Case(
        name="dense GAT", file="dense_gat.py", gpu="v100-sxm2-32gb", batch_size=1,
        figure=Figure.FITS, right=0, tolerance=0, source="diegoantognini/pyGAT#50",
    ),
    Case(
        name="sparse embeddings", file="embeddings_sparse.py", gpu="a100-pcie-40gb",
        batch_size=4096, figure=Figure.ALLOCATED, right=(3.58 + 7.15) * GIB, tolerance=EXACT,
        source="SparseAdam: two states of the table",
    ),
    Case(
        name="compiled", file="compiled.py", gpu="a100", batch_size=8, figure=Figure.BREAKDOWN,
        right=1, tolerance=0, source="the same report as without compiling",
    ),
)  # fmt: skip
