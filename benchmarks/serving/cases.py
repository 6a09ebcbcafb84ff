"""The published starts of vLLM as questions to the planner.

In: benchmarks/measurements/vllm_kv_cache.csv. Out: Case for each row whose model, card and settings
are known, and the reason for each other row. Convention: what a row leaves open and a case needs is
written in `taken`; where that was read from a printed figure, the case has no error of that figure.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from planner.config.serving import ServingConfig

CSV_FILE = Path(__file__).parents[1] / "measurements" / "vllm_kv_cache.csv"
_LLAMA_3 = "meta-llama/Meta-Llama-3-8B"
_LLAMA_31 = "meta-llama/Llama-3.1-8B"
_QWEN25_32B = "Qwen/Qwen2.5-32B"
_QWEN35 = "Qwen/Qwen3.5-27B"
_QWEN35_MOE = "Qwen/Qwen3.5-35B-A3B"
_QWEN3_MOE = "Qwen/Qwen3-30B-A3B"
_QWEN3_LARGE = "Qwen/Qwen3-235B-A22B"
_NEXT = "Qwen/Qwen3-Next-80B-A3B-Instruct"
_SAME_SHAPES = "Qwen3.8-27B has the shapes of Qwen3.5-27B (51.1 GiB in 16 bits, 16 of 64 layers)"
_PREFIXES = "prefixes are kept, as its tokens show, which are not judged for that"
_V0 = (0, 7)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A start: a model of the catalog, a card of the database, and the settings.

    `total_gib` is the card's memory as vLLM saw it; None: that of its record. `shared_by` is the
    number of ranks of the weights where experts are spread over more cards than `config` names.
    `taken` says what the row leaves open.
    """

    model: str
    card: str
    config: ServingConfig
    total_gib: float | None = None
    weight_ranks: int | None = None
    taken: str = ""

    @property
    def judges_tokens(self) -> bool:
        """Returns whether no setting was taken from the printed tokens."""
        return _PREFIXES not in self.taken


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A published start. Sizes are in GiB and for one GPU; None: not printed."""

    case_id: str
    source: str
    model: str
    trust: str
    kv_gib: float | None
    tokens: int | None
    requests: float | None
    weights_gib: float | None
    non_torch_gib: float | None
    consumed_gib: float | None
    activation_gib: float | None
    graphs_gib: float | None
    graphs_estimate_gib: float | None
    case: Case | None
    why_none: str = ""


def _case(
    model: str,
    card: str,
    version: tuple[int, ...],
    *,
    tp: int = 1,
    length: int | None = None,
    utilization: float | None = None,
    quant: str | None = None,
    kv: str | None = None,
    step: int | None = None,
    seqs: int | None = None,
    eager: bool = False,
    prefixes: bool | None = None,
    speculative: int = 0,
    total: float | None = None,
    weight_ranks: int | None = None,
    taken: str = "",
) -> Case:
    config = ServingConfig(
        version=version,
        tensor_parallel=tp,
        max_model_len=length,
        utilization=utilization,
        quant=quant,
        kv_dtype=kv,
        max_num_seqs=seqs,
        max_num_batched_tokens=step,
        enforce_eager=eager,
        prefix_caching=prefixes,
        speculative_tokens=speculative,
    )
    return Case(
        model=model, card=card, config=config, total_gib=total, weight_ranks=weight_ranks,
        taken=taken,
    )  # fmt: skip


_CASES: Mapping[str, Case] = {
    "vllm-10511-0": _case(_LLAMA_3, "a100", (0, 6, 5), length=8192, utilization=0.9, total=79.22),
    "vllm-15815-0": _case(
        _QWEN25_32B, "l40s", _V0, tp=2, length=10000, utilization=0.9, total=44.42
    ),
    "vllm-17122-0": _case(_LLAMA_31, "l40s", (0, 8, 4), length=32768, utilization=0.9),
    "mellea-416-0": _case(
        "Qwen/Qwen3-0.6B", "h100", _V0, length=8192, utilization=0.8, total=79.19
    ),
    "vllm-12663-0": _case(_QWEN25_32B, "a40", _V0, tp=2, length=12288, utilization=0.9, total=47.5),
    "vllm-21348-0": _case(
        _QWEN3_LARGE,
        "h100",
        (0, 9, 2),
        tp=4,
        length=40960,
        utilization=0.9,
        quant="fp8",
        taken="version 0.9",
    ),
    "LMCache-3430-0": _case(
        "Qwen/Qwen3-8B",
        "rtx4090",
        (0, 21),
        length=16384,
        utilization=0.9764,
        taken="a card of 24 GB: RTX 4090",
    ),
    "club-3090-612-0": _case(
        _QWEN35_MOE,
        "rtx5090",
        (0, 24),
        length=131072,
        step=8192,
        seqs=1,
        quant="nvfp4",
        kv="fp8",
        utilization=0.92,
        prefixes=True,
        taken=_PREFIXES,
    ),
    "club-3090-652-0": _case(
        _QWEN35_MOE,
        "rtx5090",
        (0, 24),
        length=131072,
        step=8192,
        seqs=1,
        quant="nvfp4",
        kv="fp8",
        utilization=0.92,
        prefixes=True,
        taken=_PREFIXES,
    ),
    "club-3090-642-0": _case(
        _QWEN35,
        "rtx3090",
        (0, 24),
        tp=2,
        length=262144,
        step=8192,
        seqs=2,
        quant="gptq",
        kv="fp8_e5m2",
        utilization=0.92,
        prefixes=True,
        speculative=3,
        taken=_PREFIXES,
    ),
    "talos-argocd-proxmox-1995-0": _case(
        _QWEN35,
        "rtx3090",
        (0, 28),
        tp=2,
        length=131072,
        step=8192,
        seqs=2,
        quant="fp8",
        kv="fp8_e4m3",
        utilization=0.92,
        taken=_SAME_SHAPES,
    ),
    "myoceane.fr-gpt-oss-0": _case(
        "openai/gpt-oss-20b", "a100-80gb", (0, 19), length=131072, utilization=0.65, quant="mxfp4"
    ),
    "myoceane.fr-gemma-0": _case(
        "google/gemma-4-26B-A4B", "a100-80gb", (0, 19), length=131072, eager=True, utilization=0.9
    ),
    "file 10876549642-10876549642-0": _case(
        "meta-llama/Meta-Llama-3-70B",
        "l40s",
        (0, 16),
        tp=2,
        length=8192,
        step=2048,
        utilization=0.9,
        quant="awq",
    ),
    "file 7292846353-7292846353-0": _case(
        _NEXT, "h200", (0, 11), tp=2, length=262144, utilization=0.9, total=139.81
    ),
    "file 70231782181-70231782181-0": _case(
        _LLAMA_31,
        "h100",
        (0, 33),
        length=131072,
        utilization=0.92,
        total=79.25,
        taken="version 0.33, the newest on its day",
    ),
    "file 45665312624-45665312624-0": _case(
        "google/gemma-3-1b-it",
        "rtx5090",
        (0, 13),
        length=2048,
        step=8192,
        utilization=0.95,
        taken="a card of 32 GB: RTX 5090",
    ),
    "file 40791855483-40791855483-0": _case(
        "Qwen/Qwen3-4B", "rtx2060", _V0, length=10000, seqs=1, utilization=0.95, total=12.0
    ),
    "file 12053131581-12053131581-0": _case(
        "Qwen/Qwen2.5-VL-7B-Instruct",
        "a100-80gb",
        _V0,
        tp=4,
        length=3072,
        utilization=0.9,
        total=79.33,
        taken="adapters are not counted",
    ),
    "file 39152366792-39152366792-0": _case(
        _QWEN3_MOE, "rtx2080ti", _V0, tp=4, length=131072, utilization=0.9, total=21.66
    ),
    "file 33122952765-33122952765-0": _case(
        "Qwen/Qwen2.5-0.5B",
        "a40",
        _V0,
        length=32768,
        utilization=0.78,
        quant="nf4",
        total=47.5,
    ),
    "david-share-5773335890-0": _case(
        "microsoft/phi-4",
        "h100",
        (0, 6, 5),
        length=2048,
        utilization=0.15,
        quant="gptq",
        total=79.25,
    ),
    "file 55875904831-55875904831-0": _case(
        "Qwen/Qwen2.5-1.5B", "t4", _V0, length=32768, utilization=0.5, total=14.56
    ),
    "file 57923772900-57923772900-0": _case(
        _QWEN3_LARGE,
        "rtxpro6000",
        (0, 28),
        tp=4,
        length=32768,
        seqs=32,
        utilization=0.9,
        quant="fp8",
        total=95.01,
    ),
    "file 38962983769-38962983769-0": _case(
        _QWEN3_LARGE,
        "l40s",
        (0, 10, 2),
        tp=4,
        length=32768,
        utilization=0.9,
        quant="fp8",
        total=44.42,
        weight_ranks=8,
        taken="experts over 8 cards: weights divided by 8",
    ),
    "file 60894101463-60894101463-0": _case(
        _QWEN35,
        "a100-80gb",
        (0, 29),
        length=262144,
        utilization=0.92,
        total=80.0,
        taken=f"{_SAME_SHAPES}; a card of 80 GB: A100",
    ),
    "file 67592774702-67592774702-0": _case(
        _QWEN3_MOE,
        "h100-nvl",
        (0, 14),
        length=8192,
        step=8192,
        utilization=0.9,
        taken="utilization 0.9, the default",
    ),
    "vllm -56792279388-0": _case(
        "openai/gpt-oss-120b",
        "b200",
        (0, 13),
        tp=8,
        length=2058,
        step=8192,
        seqs=1024,
        utilization=0.9,
        quant="mxfp4",
        kv="fp8",
    ),
    "vllm -56996512052-0": _case(
        "openai/gpt-oss-120b", "h100", (0, 11), quant="mxfp4", utilization=0.9
    ),
    "ridgepoint (PyPI 0.1.2 metadata)-example-0": _case(
        _LLAMA_3,
        "a100-80gb",
        (0, 28),
        length=8192,
        utilization=0.9,
        taken="utilization 0.9, for which its README makes the comparison",
    ),
}
_TWO_PARTS = "the quantisation of the checkpoint is not said, and its size fits none that is known"
_DRAFT = "a separate draft model, which is not named, takes memory too"
_NO_CARD = "the card is not said"
_WHY_NONE: Mapping[str, str] = {
    "vllm-10511-1": "the line of the cache is cut off",
    "vllm-17327-0": f"{_NO_CARD}, nor the size of the cache",
    "club-3090-294-0": "the size of the cache in bytes is not said",
    "club-3090-295-0": "the size of the cache in bytes is not said",
    "club-3090-104-0": "neither length nor step are said, and layers are added for padding",
    "club-3090-46-0": f"the utilization is not said; {_DRAFT}",
    "club-3090-96-0": f"neither length nor step are said; {_DRAFT}",
    "club-3090-1087-0": "neither length, step nor sequences are said",
    "club-3090-1086-0": "the utilization is not said, and a draft model is likely",
    "qwen38-27b-rtx3090-39-0": _TWO_PARTS,
    "vllm-50722-0": f"length and step are not said; {_DRAFT}",
    "file 66617746346-66617746346-0": _TWO_PARTS,
    "file 48549636448-48549636448-0": _NO_CARD,
    "file 48549636448-48549636448-1": _NO_CARD,
    "club-3090-55592757904-0": "no config of diffusiongemma is public here",
    "vllm -56928657409-0": f"{_NO_CARD}, nor the size of the cache",
    "file 68573043236-68573043236-0": _TWO_PARTS,
    "file 68573043236-68573043236-1": _TWO_PARTS,
    "file 55144767765-55144767765-0": "the utilization is not said, and the card is not a record",
    "file 33676930891-33676930891-0": _NO_CARD,
    "file 33178493884-33178493884-0": f"{_NO_CARD}, nor the utilization",
}


def rows(path: Path = CSV_FILE) -> list[Row]:
    """Reads the published starts."""
    with path.open(newline="", encoding="utf-8") as file:
        return [_row(record) for record in csv.DictReader(file)]


def _row(record: Mapping[str, str]) -> Row:
    case_id = record["case_id"]

    def number(key: str) -> float | None:
        return float(record[key]) if record[key] else None

    case = _CASES.get(case_id)
    why = "" if case else _WHY_NONE.get(case_id, "the model or the card is not said")
    return Row(
        case_id=case_id,
        source=record["source"],
        model=record["model"],
        trust=record["trust"],
        kv_gib=number("kv_cache_gib"),
        tokens=int(record["kv_cache_tokens"]) if record["kv_cache_tokens"] else None,
        requests=number("max_concurrency"),
        weights_gib=number("weights_gib"),
        non_torch_gib=number("non_torch_gib"),
        consumed_gib=number("consumed_gib"),
        activation_gib=number("peak_activation_gib"),
        graphs_gib=number("cuda_graph_gib"),
        graphs_estimate_gib=number("cuda_graph_estimate_gib"),
        case=case,
        why_none=why,
    )
