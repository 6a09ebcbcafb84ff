"""Reads the engines' tables of attention.

In: aiconfigurator-core's context, encoder and generation attention in bfloat16. Out: Calls.
Convention: seconds; each shape is held out on all cards and of all engines.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from benchmarks.kernels.aiconfigurator import CARDS, EngineTable, tables
from benchmarks.kernels.records import is_held_out
from planner.timing.measured.attention_form import Work

NAME = "attention"
# Kernels as the tables name them. Left out: Triton's (another kernel), torch_flow (TensorRT-LLM's
# call, with the writing of keys into pages) and flashinfer, which folds heads that share keys into
# one tile; it is contiguous, and shows what pages cost.
_KERNELS = {
    "flash_attention", "vllm_flash_attn_fa2", "vllm_vit_flash_attn_fa2", "vllm_flash_attn_fa3",
    "fa3", "vllm_vit_flash_attn_fa3", "flash_attention_v3", "trtllm_mha", "flash_attention_v4",
    "vllm_flashinfer_trtllmprefill", "vllm_vit_flash_attn_fa4",
}  # fmt: skip
_DECODE_KERNELS = {
    "vllm_flash_attn", "vllm_flash_attn_fa2", "vllm_flash_attn_fa3", "trtllm_mha",
    "vllm_flashinfer_trtllmdecode",
}  # fmt: skip
_CONTIGUOUS, _PAGED = "flashinfer", "vllm_flash_attn_fa2"
_GAIN_LENGTH = 4096  # tokens: beyond it the tile of shared heads does not matter
_LEAST_QUERIES = 16
WIDTHS = (64, 72, 80, 128, 192, 256)

Key = tuple[str, str, int]  # card, mask, head width


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A measured call."""

    work: Work
    seconds: float
    kernel: str

    @property
    def is_held_out(self) -> bool:
        """Returns whether it judges."""
        one = self.work
        return is_held_out(
            NAME, one.batch, one.heads, one.key_heads, one.queries, one.keys, one.width,
            one.is_causal, one.window,
        )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """All calls: of forward by card, mask and width; of one query by card; what pages cost."""

    calls: Mapping[Key, Sequence[Call]]
    decode: Mapping[str, Sequence[Call]]
    contiguous_gain: Mapping[str, float]


def read() -> Measured:
    """Reads the tables of all cards."""
    calls: dict[Key, list[Call]] = {}
    decode: dict[str, list[Call]] = {}
    gains: dict[str, float] = {}
    for folder, card in CARDS.items():
        found = list(_calls(folder))
        for one in found:
            if one.kernel in _KERNELS:
                mask = "causal" if one.work.is_causal else "whole"
                calls.setdefault((card, mask, one.work.width), []).append(one)
        gains[card] = _contiguous_gain(found)
        decode[card] = [one for one in _decode(folder) if one.kernel in _DECODE_KERNELS]
    return Measured(calls=calls, decode=decode, contiguous_gain=gains)


def _calls(folder: str) -> Iterator[Call]:
    for table in tables(folder, "attention", "context_attention_perf"):
        yield from _rows(table, is_causal=True)
    for table in tables(folder, "encoder_attention", "encoder_attention_perf"):
        yield from _rows(table, is_causal=False)


def _decode(folder: str) -> Iterator[Call]:
    for table in tables(folder, "attention", "generation_attention_perf"):
        yield from _rows(table, is_causal=True, is_decode=True)


def _rows(table: EngineTable, *, is_causal: bool, is_decode: bool = False) -> Iterator[Call]:
    """Yields the calls in bfloat16 with keys and values in bfloat16, without a prefix."""
    columns = table.columns
    size = len(columns["latency"])
    absent = [None] * size
    stored = columns.get("kv_cache_dtype", absent)
    shared = columns.get("num_key_value_heads", absent)
    past = columns.get("step", absent)
    windows = columns.get("window_size", absent)
    for at in range(size):
        queries, before = columns["isl"][at], past[at] or 0
        width = columns["head_dim"][at]
        is_half = {columns["attn_dtype"][at], stored[at]} <= {"bfloat16", None}
        is_wanted = before > 0 if is_decode else before == 0 and queries >= _LEAST_QUERIES
        if not (is_half and is_wanted and width in WIDTHS):
            continue
        heads = columns["num_heads"][at]
        yield Call(
            work=Work(
                batch=columns["batch_size"][at],
                heads=heads,
                key_heads=shared[at] or heads,
                queries=queries,
                keys=queries + before,
                width=width,
                is_causal=is_causal,
                window=windows[at] or None,
            ),
            seconds=columns["latency"][at] / 1e3,
            kernel=columns["kernel_source"][at],
        )


def _contiguous_gain(calls: Sequence[Call]) -> float:
    """Returns times with keys in pages over those without, of long sequences; 1 if not measured."""
    paged = {one.work: one.seconds for one in calls if one.kernel == _PAGED}
    ratios = [
        paged[one.work] / one.seconds
        for one in calls
        if one.kernel == _CONTIGUOUS
        and one.work in paged
        and one.work.queries >= _GAIN_LENGTH
        and one.work.width == 128
        and one.work.window is None
    ]
    return median(ratios) if ratios else 1.0
