"""Matrix products as a kind of table."""

from __future__ import annotations

from benchmarks.kernels.products.judging import NAME, Tables, fit, judge, read
from benchmarks.kernels.records import Kind
from planner.timing.measured.products import FILE

_NOTES = """\
How the tables were cleaned:

- bf16 (aiconfigurator-core, products among others in a CUDA graph): two or three engines call \
the same library and agree to 4 to 5 % in the median (L40S 7 %). Each is moved to the level of \
all, then their median counts.
- fp8, fp8 with block scales, nvfp4: engines have kernels of their own, and the times of some \
hold the cast of the operands too: the fastest counts. vLLM's block scales are left out, 2.6 to \
12 times as long as those of others in the median. nvfp4 is given twice the rate of fp8.
- fp32 (NeuSight, single calls on an idle card, without TF32): calls under 100 us are left out. \
They waited for the CPU: 24 us on an H100 and 34 to 79 us elsewhere, whatever the shape.
- float16 has no table of its own and takes bf16's; TF32 is bf16 of twice the k. Batched \
products are judged in fp32 alone. Rows that are not of 16 bytes have half the rate, which no \
table holds.

The time is that of the roofs (FLOPs at the full rate, bytes at the full bandwidth, 4000 cycles \
of begin and end) times the factor of a net of 32 and 24 units; in fp32, whose tables have no \
short kernels, begin and end are added after that. The net sees the sizes, how much of its last \
wave each of six tiles leaves idle, the ratio of the roofs and three numbers of the card and \
precision. A card without a table takes the mean of cards of its compute capability, else three \
numbers that were fitted to all cards at once. Beyond the sizes of the tables the factor stays \
as at their edge, and no time is below that of the published peaks. **before** is the greater of \
tiles at the full rate and bytes at the full bandwidth, without begin and end. A card left out \
is judged on at most some 2000 of its held-out shapes.

What is known of the rest: the batched products of L4 and T4, cards of 72 and 70 W, are met \
worst. A card left out misses by its rate too: where the database has another rate than the \
tables, all its large products are off by it.
"""

PRODUCTS: Kind[Tables] = Kind(
    name=NAME,
    title="Matrix products",
    file=FILE,
    read=read,
    fit=fit,
    judge=judge,
    notes=_NOTES,
)
