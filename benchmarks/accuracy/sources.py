"""The published sources, and how each was measured as far as a prediction needs it.

In: nothing. Out: SOURCES. Convention: the source of a number is written next to it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from benchmarks.accuracy.records import Quantity
from benchmarks.h100_peaks.measurements import ACTIVE_BOUNDS, RESERVED_BOUNDS
from planner.config.step import BuildOn, Mode
from planner.units import GIB, MIB

MEASUREMENTS = Path(__file__).resolve().parents[1] / "measurements"
MODEL_FILES = Path(__file__).with_name("cases")

# A failed batch counts as predicted if it does not fit on a card smaller by this fraction: contexts
# and other processes on the card are not known more exactly.
BRACKET_TOLERANCE_FRACTION = 0.03

# Some kernels of PyTorch and cuDNN refuse more elements: their indices are signed 32-bit numbers.
INDEX_LIMIT_ELEMENTS = 2**31 - 1

# Networks of one name that differ by no more than this in their parameters are taken for the same:
# later versions of timm have moved a bias here and there.
SAME_NETWORK_FRACTION = 0.005

# Parameters, in millions, of networks that timm has corrected since they were measured, for sources
# that publish none. Its results of 2022 to 2025 and timm 1.0.11 have this one with half its depth.
PARAMETERS_MILLIONS_THEN = {"ecaresnext50t_32x4d": 15.41}

# Of a single row, without sign; as benchmarks/h100_peaks holds them.
H100_BOUNDS = {
    Quantity.PEAK_ALLOCATED: ACTIVE_BOUNDS.row,
    Quantity.PEAK_RESERVED: RESERVED_BOUNDS.row,
}


class Judging(Enum):
    """The way to compare the predictions of a source."""

    ABSOLUTE = "the figure itself"
    OFFSET = "with one constant, fitted on about half of the models and judged on the others"
    BRACKET = "whether a batch fits"


@dataclass(frozen=True, slots=True, kw_only=True)
class CardFigures:
    """A card as it was in the measurement."""

    usable_bytes: int
    context_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One published set of figures.

    `bound` is the largest error, without sign, that counts as within. `card_figures` replace
    figures of the card's record. `environment` is a name in benchmarks/environments.py.
    """

    name: str
    title: str
    measurements: Path
    model_file: Path
    judging: Judging
    bound: float = 0.0
    environment: str = "current"
    mode: Mode = Mode.TRAIN
    set_to_none: bool = True
    steps: int = 3
    card_figures: CardFigures | None = None
    variables: tuple[tuple[str, str], ...] = ()
    half_seed: int = 0
    halves_by_case: bool = False  # where there are too few models to draw halves from
    build_on: BuildOn | None = None
    constant_is: str = "the CUDA context and the libraries' own memory"


# usable: 23.69 GiB as torch shows an RTX 3090 with the drivers of 2022; context: 1546-1687 MiB in
# out-of-memory messages of torch 1.12 with CUDA 11.3, which loads every kernel at the start.
RTX3090_TORCH_1_12 = CardFigures(
    usable_bytes=round(23.69 * GIB), context_bytes=(1546 + 1687) // 2 * MIB
)

SOURCES = {
    source.name: source
    for source in (
        Source(
            name="h100-peaks",
            title="Training on an H100 80GB, peaks of PyTorch's allocator in exact bytes",
            measurements=MEASUREMENTS.parent / "h100_peaks" / "measurements.csv",
            model_file=MEASUREMENTS.parent / "h100_peaks" / "cases.py",
            judging=Judging.ABSOLUTE,
        ),
        Source(
            name="timm-train",
            title="Training of timm's networks on an RTX 3090: the batch that ran, and the next",
            measurements=MEASUREMENTS / "timm_train_brackets.csv",
            model_file=MODEL_FILES / "timm_train.py",
            judging=Judging.BRACKET,
            set_to_none=False,
            card_figures=RTX3090_TORCH_1_12,
            variables=(("TIMM_FUSED_ATTN", "0"),),
        ),
        Source(
            name="timm-infer",
            title="Inference of timm's networks on an RTX 5090: the batch that ran, and the next",
            measurements=MEASUREMENTS / "timm_infer_brackets.csv",
            model_file=MODEL_FILES / "timm_infer.py",
            judging=Judging.BRACKET,
            mode=Mode.INFER,
        ),
        Source(
            name="gpumemnet",
            title="Training of timm's networks on an A100 40GB, as nvidia-smi shows it",
            measurements=MEASUREMENTS / "gpumemnet_timm_train.csv",
            model_file=MODEL_FILES / "timm_script.py",
            judging=Judging.OFFSET,
            bound=0.12,
        ),
        Source(
            name="milabench",
            title="Training of BERT and ConvNeXt on H100, H200 and L40S, as the driver reports it",
            measurements=MEASUREMENTS / "milabench.csv",
            model_file=MODEL_FILES / "milabench.py",
            judging=Judging.OFFSET,
            bound=0.05,
            environment="measured",
            halves_by_case=True,
        ),
        Source(
            name="peft-metamath",
            title="Fine-tuning of Llama-3.2-3B with the adapters of PEFT on an L40S",
            measurements=MEASUREMENTS / "peft_metamath.csv",
            model_file=MODEL_FILES / "peft_metamath.py",
            judging=Judging.OFFSET,
            bound=0.06,
            environment="finetune",
            steps=2,
            build_on=BuildOn.DEVICE,
            constant_is="TODO",
        ),
        Source(
            name="vramcalc",
            title="Fine-tuning of Llama-3.2-1B and Llama-3.1-8B on an RTX A6000",
            measurements=MEASUREMENTS / "vramcalc.csv",
            model_file=MODEL_FILES / "vramcalc.py",
            judging=Judging.ABSOLUTE,
            bound=0.005,
            environment="finetune-4.57",
        ),
        Source(
            name="fms-mistral",
            title="Fine-tuning of Mistral-7B on an A100 80GB: full, LoRA, QLoRA",
            measurements=MEASUREMENTS / "fms_mistral.csv",
            model_file=MODEL_FILES / "fms_mistral.py",
            judging=Judging.ABSOLUTE,
            bound=0.02,
            environment="finetune-4.40",
        ),
    )
}
