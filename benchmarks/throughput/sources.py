"""The published sources of step times.

In: nothing. Out: SOURCES, in the order of the page. Convention: sources of few rows have more
weight, because they have cards and networks that the others lack; their halves are of rows.
"""

from __future__ import annotations

from benchmarks.record import h100_training
from benchmarks.record.records import Unit
from benchmarks.record.rows import MEASUREMENTS
from benchmarks.throughput import reading
from benchmarks.throughput.records import Case, Counted, Source
from planner.hardware.database import load_cpus
from planner.hardware.specs import GpuSpec
from planner.input_pipeline.host_budget import PcieLink, h2d_bytes_per_s
from planner.timing.issue import IssueCosts, issue_times
from planner.wire.call_order import NO_ORDER
from planner.wire.trace import OperatorRecord, Phase

# Hosts of NVIDIA's networks, by card: DGX A100, and DGX-1, whose Xeon E5-2698 v4 is of the family
# and the turbo clock of the E5-2699 v4. That of the T4 is not named.
_EPYC_7742 = load_cpus().find("epyc-7742").spec.core_speed
_XEON_E5_V4 = load_cpus().find("xeon-e5-2699-v4").spec.core_speed
_DGX = {
    "a100-sxm4-80gb": _EPYC_7742, "a100-sxm4-40gb": _EPYC_7742,
    "v100-sxm2-16gb": _XEON_E5_V4, "v100-sxm2-32gb": _XEON_E5_V4,
}  # fmt: skip

SOURCES = {
    source.name: source
    for source in (
        Source(
            name="rtx3090-nchw",
            title="timm's networks trained on an RTX 3090, AMP fp16, contiguous (torch 1.12)",
            measurements=MEASUREMENTS / "throughput_timm_train_rtx3090_nchw.csv",
            read=reading.timm_training(channels_last=False),
        ),
        Source(
            name="rtx3090-nhwc",
            title="the same, channels_last",
            measurements=MEASUREMENTS / "throughput_timm_train_rtx3090_nhwc.csv",
            read=reading.timm_training(channels_last=True),
        ),
        Source(
            name="rtx4090-infer",
            title="timm's networks in inference on an RTX 4090, AMP fp16 (torch 2.4)",
            measurements=MEASUREMENTS / "throughput_timm_infer_rtx4090.csv",
            read=reading.timm_inference("rtx4090", fused=False),
            left_out="other cards",
        ),
        Source(
            name="rtx5090-infer",
            title="the same on an RTX 5090 (torch 2.9.1)",
            measurements=MEASUREMENTS / "throughput_timm_infer_rtx5090.csv",
            read=reading.timm_inference("rtx5090", fused=True),
            left_out="other cards",
        ),
        Source(
            name="compiled-infer",
            title="timm's networks compiled, in inference on RTX 4090 and 5090 (torch 2.9.1)",
            measurements=MEASUREMENTS / "throughput_timm_infer_compiled.csv",
            read=reading.timm_compiled,
            weight=2.0,
        ),
        Source(
            name="h100-training",
            title="T5, GPT-2, Llama and ViT trained on an H100 (torch 2.6)",
            measurements=h100_training.FILE,
            halved_by=Unit.CASE,
            read=reading.h100,
            weight=5.0,
        ),
        Source(
            name="nvidia-resnet50",
            title="ResNet-50 of NVIDIA on A100, V100 and T4",
            measurements=MEASUREMENTS / "nvidia_resnet50.csv",
            hosts=_DGX,
            halved_by=Unit.CASE,
            read=reading.own_network,
            weight=5.0,
            left_out="other networks",
        ),
        Source(
            name="nvidia-convnets",
            title="ResNeXt-101, SE-ResNeXt-101, EfficientNet of NVIDIA on A100, V100 and T4",
            measurements=MEASUREMENTS / "nvidia_convnets.csv",
            hosts=_DGX,
            read=reading.own_network,
            weight=2.0,
        ),
        Source(
            name="neusight",
            title="GPT-2 large and BERT large on H100, V100 and L4, fp32, without optimizer",
            measurements=MEASUREMENTS / "neusight_training.csv",
            halved_by=Unit.CASE,
            read=reading.own_network,
            weight=5.0,
            optimizer=False,
        ),
        Source(
            name="lambda-cards",
            title="BERT-base on SQuAD and NCF of Lambda on twelve cards",
            measurements=MEASUREMENTS / "step_time_cards.csv",
            halved_by=Unit.CASE,
            read=reading.of_cards("lambda"),
            weight=3.0,
        ),
        Source(
            name="small-batches",
            title="torchvision's networks with batch 12 on an A100, launch-bound",
            measurements=MEASUREMENTS / "step_time_cards.csv",
            read=reading.of_cards("ryujaehun"),
            optimizer=False,
            hosts=_DGX,
        ),
    )
}


def core_speed(case: Case) -> float:
    """Returns the speed of a core of the host; 1 where the source does not name it.

    Of the cores of these years the reference core is a fast one.
    """
    return SOURCES[case.source].hosts.get(case.step.card, 1.0)


def issue_s(one: Counted, costs: IssueCosts | None = None) -> float:
    """Returns the seconds of the CPU to issue the step; `costs` as in `issue_times`."""
    order = NO_ORDER if one.counts is None else one.counts.order
    found = issue_times(one.operators, order, costs)
    optimizer_s = found.optimizer_s if SOURCES[one.case.source].optimizer else 0.0
    return (found.micro_batch_s + optimizer_s) / core_speed(one.case)


def copy_s(case: Case, card: GpuSpec) -> float:
    """Returns the seconds in which the step waits for its copies from pageable memory."""
    if not case.copied_bytes:
        return 0.0
    link = PcieLink(generation=card.pcie_generation, lanes=card.pcie_lanes)
    rate = h2d_bytes_per_s(link, pinned=False)
    assert rate is not None, "the link of a card that was measured is known"
    return case.copied_bytes / rate


def timed(one: Counted) -> list[OperatorRecord]:
    """Returns the operators that the published time holds."""
    optimizer = SOURCES[one.case.source].optimizer
    return [
        record for record in one.operators if optimizer or record.phase is not Phase.OPTIMIZER_STEP
    ]
