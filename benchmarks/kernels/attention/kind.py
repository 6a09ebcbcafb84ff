"""Fused attention, as a kind of table."""

from __future__ import annotations

from benchmarks.kernels.attention.fitting import fit
from benchmarks.kernels.attention.judging import judge
from benchmarks.kernels.attention.reading import NAME, Measured, read
from benchmarks.kernels.records import Kind
from planner.timing.measured.attention_tables import FILE

ATTENTION: Kind[Measured] = Kind(
    name=NAME,
    title="Fused attention",
    file=FILE,
    read=read,
    fit=fit,
    judge=judge,
    notes="""
bfloat16, of one engine's call with 16 queries and more (aiconfigurator-core 0.12.0): \
FlashAttention 2 on A100, L40S and RTX PRO 6000, 3 on H100 and H200, 4 and TensorRT-LLM's on \
B200. Causal calls keep keys and values in pages, others do not. Head widths 64, 128, 192 and \
256 causal (A100: 128 alone), 64, 72 and 80 not causal; the rest of the table follows by ratios, \
with 0.15 more of spread.

**What torch runs.** torch 2.14 takes cuDNN's attention first on compute capability 9.x and 10.x \
(cuDNN above 9.15), flash elsewhere: the kernels of FlashAttention 2, without pages. So the \
tables are fair for torch on Ampere, Ada and GeForce-like Blackwell, where pages cost what \
`flashinfer` without them gains over long sequences (constant `contiguous_gain`) and what calls \
without a mask, which have no pages, take less of short ones. On Hopper the tables are not fair: \
up to 1,024 tokens the engines' calls are 1.3 to 2.3 times as slow as those of the \
FlashAttention 3 paper (arXiv 2407.08608, figures 5 and 6: H100, 16,384 tokens, 2,048 wide). So \
`hopper` is fitted to the paper's figures of cuDNN (9.1, of 2024; later ones are faster by an \
amount that nobody published) and of FlashAttention 2. On B200 no such comparison is known: \
cuDNN is taken to be as fast as the tables' kernels, with more spread. The efficient backend, \
dropout and biases are in no table.

**Backward** is in no table: five products for two, at 0.86 of forward's FLOP/s, as \
FlashAttention 2 on an A100 (its paper), and the bytes of the kernels around it; on Hopper by \
the published figures of each library and head width.
""",
)
