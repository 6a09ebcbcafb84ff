"""Names that schedulers have for the cards of the database.

In: the id of a card's record. Out: its names. Convention: a card without an entry has no known name
there, and is not requested under a guessed one.
"""

from __future__ import annotations

from collections.abc import Mapping

# https://github.com/skypilot-org/skypilot-catalog/blob/master/catalogs/v8/common/accelerators.csv
# (names) and catalogs/v7/common/metadata.csv (memory), read 2026-11. Two names: two clouds write
# the card differently, and both are requested.
SKYPILOT_NAMES: Mapping[str, tuple[str, ...]] = {
    "a10": ("A10",),
    "a100-pcie-40gb": ("A100",),
    "a100-pcie-80gb": ("A100-80GB",),
    "a100-sxm4-40gb": ("A100",),
    "a100-sxm4-80gb": ("A100-80GB", "A100-80GB-SXM"),
    "a10g": ("A10G",),
    "a30": ("A30",),
    "a40": ("A40",),
    "b200-sxm": ("B200",),
    "gh200-96gb": ("GH200",),
    "h100-nvl-94gb": ("H100-NVL",),
    "h100-pcie-80gb": ("H100",),
    "h100-sxm5-80gb": ("H100", "H100-SXM"),
    "h200-sxm": ("H200", "H200-SXM"),
    "l4": ("L4",),
    "l40": ("L40",),
    "l40s": ("L40S",),
    "p100-pcie-16gb": ("P100",),
    "quadro-rtx-6000": ("RTX6000",),
    "quadro-rtx-8000": ("RTX8000",),
    "rtx-3060-12gb": ("RTX3060",),
    "rtx-3070": ("RTX3070",),
    "rtx-3080-10gb": ("RTX3080",),
    "rtx-3090": ("RTX3090",),
    "rtx-4090": ("RTX4090",),
    "rtx-5090": ("RTX5090",),
    "rtx-6000-ada": ("RTX6000-Ada",),
    "rtx-a4000": ("RTXA4000",),
    "rtx-a5000": ("RTXA5000",),
    "rtx-a6000": ("A6000", "RTXA6000"),
    "t4": ("T4",),
    "v100-pcie-16gb": ("V100",),
    "v100-pcie-32gb": ("V100-32GB",),
    "v100-sxm2-16gb": ("V100",),
    "v100-sxm2-32gb": ("V100-32GB",),
}

# Name and GB of a card: KNOWN_NVIDIA_GPUS of gpuhunt 0.1.34, gpuhunt/_internal/constraints.py
# (https://github.com/dstackai/gpuhunt), which dstack 0.22 compares a request with.
GPUHUNT_NAMES: Mapping[str, tuple[str, int]] = {
    "a10": ("A10", 24),
    "a100-pcie-40gb": ("A100", 40),
    "a100-pcie-80gb": ("A100", 80),
    "a100-sxm4-40gb": ("A100", 40),
    "a100-sxm4-80gb": ("A100", 80),
    "a10g": ("A10G", 24),
    "a40": ("A40", 48),
    "b200-sxm": ("B200", 180),
    "gh200-96gb": ("GH200", 96),
    "h100-nvl-94gb": ("H100NVL", 94),
    "h100-pcie-80gb": ("H100", 80),
    "h100-sxm5-80gb": ("H100", 80),
    "h200-sxm": ("H200", 141),
    "l4": ("L4", 24),
    "l40": ("L40", 48),
    "l40s": ("L40S", 48),
    "p100-pcie-16gb": ("P100", 16),
    "quadro-rtx-6000": ("RTX6000", 24),
    "rtx-2060": ("RTX2060", 6),
    "rtx-2070-super": ("RTX2070SUPER", 8),
    "rtx-2080": ("RTX2080", 8),
    "rtx-2080-super": ("RTX2080SUPER", 8),
    "rtx-2080-ti": ("RTX2080Ti", 11),
    "rtx-3060-12gb": ("RTX3060", 12),
    "rtx-3060-ti": ("RTX3060Ti", 8),
    "rtx-3070": ("RTX3070", 8),
    "rtx-3070-ti": ("RTX3070Ti", 8),
    "rtx-3080-10gb": ("RTX3080", 10),
    "rtx-3080-ti": ("RTX3080Ti", 12),
    "rtx-3090": ("RTX3090", 24),
    "rtx-3090-ti": ("RTX3090Ti", 24),
    "rtx-4060": ("RTX4060", 8),
    "rtx-4060-ti-16gb": ("RTX4060Ti", 16),
    "rtx-4060-ti-8gb": ("RTX4060Ti", 8),
    "rtx-4070": ("RTX4070", 12),
    "rtx-4070-super": ("RTX4070SUPER", 12),
    "rtx-4070-ti": ("RTX4070Ti", 12),
    "rtx-4070-ti-super": ("RTX4070TiSUPER", 16),
    "rtx-4080": ("RTX4080", 16),
    "rtx-4080-super": ("RTX4080SUPER", 16),
    "rtx-4090": ("RTX4090", 24),
    "rtx-5060-ti-16gb": ("RTX5060Ti", 16),
    "rtx-5070": ("RTX5070", 12),
    "rtx-5070-ti": ("RTX5070Ti", 16),
    "rtx-5080": ("RTX5080", 16),
    "rtx-5090": ("RTX5090", 32),
    "rtx-6000-ada": ("RTX6000Ada", 48),
    "rtx-a4000": ("A4000", 16),
    "rtx-a5000": ("A5000", 24),
    "rtx-a6000": ("A6000", 48),
    "rtx-pro-6000-blackwell": ("RTXPRO6000", 96),
    "t4": ("T4", 16),
    "v100-pcie-16gb": ("V100", 16),
    "v100-pcie-32gb": ("V100", 32),
    "v100-sxm2-16gb": ("V100", 16),
    "v100-sxm2-32gb": ("V100", 32),
}


def node_label(name: str) -> str:
    """Returns the card's name as a label of a Kubernetes node, `nvidia.com/gpu.product`.

    GPU Feature Discovery writes NVIDIA-A100-SXM4-40GB for "NVIDIA A100-SXM4-40GB"
    (https://github.com/NVIDIA/k8s-device-plugin/tree/main/docs/gpu-feature-discovery).
    """
    return "-".join(name.split())
