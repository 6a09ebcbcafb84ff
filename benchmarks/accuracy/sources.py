"""The published sources, and how each was measured as far as a prediction needs it.

In: nothing. Out: SOURCES. Convention: the source of a number is written next to it.
"""

from __future__ import annotations

from benchmarks.accuracy import reading, several_gpus
from benchmarks.accuracy.records import Bounds, CardFigures, Judging, Quantity, Source
from benchmarks.record import h100_training
from benchmarks.record.records import Unit
from benchmarks.record.rows import MEASUREMENTS
from planner.units import GIB, MIB

MODEL_FILES = "benchmarks/accuracy/cases"

# usable: 23.69 GiB as torch shows an RTX 3090 with the drivers of 2022; context: 1546-1687 MiB in
# out-of-memory messages of torch 1.12 with CUDA 11.3, which loads every kernel at the start.
RTX3090_TORCH_1_12 = CardFigures(
    usable_bytes=round(23.69 * GIB), context_bytes=(1546 + 1687) // 2 * MIB
)

# As the runs of torchtitan print it; there is no record of the card, whose chip is that of an H100.
H100_96GB = CardFigures(usable_bytes=round(95.0396 * GIB))

SOURCES = {
    source.name: source
    for source in (
        Source(
            name="h100-peaks",
            title="Training on an H100 80GB, peaks of PyTorch's allocator in exact bytes",
            measurements=h100_training.FILE,
            judging=Judging.ABSOLUTE,
            read=reading.allocator_peaks,
            options=(("steps", 5),),  # as measured
            bounds={
                Quantity.PEAK_ALLOCATED: Bounds(row=0.002, median=0.0001),
                Quantity.PEAK_RESERVED: Bounds(row=0.04, median=0.006),
            },
            must_hold=True,
        ),
        Source(
            name="timm-train",
            title="Training of timm's networks on an RTX 3090: the batch that ran, and the next",
            measurements=MEASUREMENTS / "timm_train_brackets.csv",
            judging=Judging.BRACKET,
            read=reading.figure,
            model_file=f"{MODEL_FILES}/timm_train.py",
            options=(("steps", 3), ("set_to_none", False)),
            variables=(("TIMM_FUSED_ATTN", "0"),),
            card_figures=RTX3090_TORCH_1_12,
        ),
        Source(
            name="timm-infer",
            title="Inference of timm's networks on an RTX 5090: the batch that ran, and the next",
            measurements=MEASUREMENTS / "timm_infer_brackets.csv",
            judging=Judging.BRACKET,
            read=reading.figure,
            model_file=f"{MODEL_FILES}/timm_infer.py",
            options=(("steps", 3), ("mode", "infer")),
        ),
        Source(
            name="gpumemnet",
            title="Training of timm's networks on an A100 40GB, as nvidia-smi shows it",
            measurements=MEASUREMENTS / "gpumemnet_timm_train.csv",
            judging=Judging.OFFSET,
            read=reading.figure,
            model_file=f"{MODEL_FILES}/timm_script.py",
            options=(("steps", 3),),
            bounds={Quantity.DEVICE_TOTAL: Bounds(row=0.12)},
        ),
        Source(
            name="milabench",
            title="Training of BERT and ConvNeXt on H100, H200 and L40S, as the driver reports it",
            measurements=MEASUREMENTS / "milabench.csv",
            environment="measured",
            halved_by=Unit.CASE,
            judging=Judging.OFFSET,
            read=reading.figure,
            model_file=f"{MODEL_FILES}/milabench.py",
            options=(("steps", 3),),
            bounds={Quantity.DEVICE_TOTAL: Bounds(row=0.05)},
        ),
        Source(
            name="peft-metamath",
            title="Fine-tuning of Llama-3.2-3B by 39 methods on an L40S, the whole run's peak",
            measurements=MEASUREMENTS / "peft_metamath.csv",
            environment="finetune",
            judging=Judging.OFFSET,
            read=reading.figure,
            model_file=f"{MODEL_FILES}/peft_metamath.py",
            options=(("steps", 3), ("build_on", "device")),
            bounds={Quantity.PEAK_RESERVED: Bounds(row=0.06, median=0.02)},
            constant_is=(
                "Here three batches are run, the longest last; the figure is the largest of 5000 "
                "steps and of the evaluations between them."
            ),
        ),
        Source(
            name="vramcalc",
            title="Fine-tuning of Llama-3.2-1B and Llama-3.1-8B on an RTX A6000",
            measurements=MEASUREMENTS / "vramcalc.csv",
            environment="finetune-4.57",
            judging=Judging.ABSOLUTE,
            read=reading.figure,
            model_file=f"{MODEL_FILES}/vramcalc.py",
            options=(("steps", 3),),
            bounds={Quantity.PEAK_ALLOCATED: Bounds(row=0.005)},
            must_hold=True,
        ),
        Source(
            name="fms-mistral",
            title="Fine-tuning of Mistral-7B on an A100 80GB: full, LoRA and QLoRA",
            measurements=MEASUREMENTS / "fms_mistral.csv",
            environment="finetune-4.40",
            judging=Judging.ABSOLUTE,
            read=reading.figure,
            model_file=f"{MODEL_FILES}/fms_mistral.py",
            options=(("steps", 3),),
            bounds={Quantity.PEAK_ALLOCATED: Bounds(row=0.02)},
            must_hold=True,
        ),
        Source(
            name="several-gpus",
            title="Training of Llama-2-7B and Llama-3-8B by torchtitan on 8 and 128 H100 96GB",
            measurements=MEASUREMENTS / "several_gpus.csv",
            judging=Judging.ABSOLUTE,
            read=several_gpus.figure_of_a_rank,
            model_file=f"{MODEL_FILES}/torchtitan_llama.py",
            card_figures=H100_96GB,
            bounds={
                Quantity.PEAK_ACTIVE: Bounds(row=0.05),
                Quantity.PEAK_RESERVED: Bounds(row=0.05),
            },
        ),
        Source(
            name="several-gpus-fits",
            title="Training of Llama 2 and 3 by torchtitan on 64 A100 80GB: what ran, and what not",
            measurements=MEASUREMENTS / "several_gpus_fits.csv",
            judging=Judging.BRACKET,
            read=several_gpus.figure_of_a_rank,
            model_file=f"{MODEL_FILES}/torchtitan_llama.py",
        ),
    )
}
