"""Elementwise kernels, norms and softmax, as a kind of table."""

from __future__ import annotations

from benchmarks.kernels.records import Kind
from benchmarks.kernels.streams.fitting import fit
from benchmarks.kernels.streams.judging import judge
from benchmarks.kernels.streams.reading import NAME, Measured, read
from planner.timing.measured.streams import FILE

STREAMS: Kind[list[Measured]] = Kind(
    name=NAME,
    title="Elementwise kernels, norms and softmax",
    file=FILE,
    read=read,
    fit=fit,
    judge=judge,
    notes="""
float32: NeuSight's elementwise operators (one or two tensors), layer norm and softmax over rows of
768 to 16,384, 50 MB to 69 GB. They were measured between two events on an idle card: each time
holds what the host takes to issue the operator, 10 to 60 us, which is fitted by card and operator
(`host_us` in streams.json), added here, and not used by planner. Half precision: a scale of
bfloat16 to fp8 by one factor (aiconfigurator-core's scale_matrix, the faster of TensorRT-LLM's and
vLLM's), in CUDA graphs, 96 bytes to 6 GB. It gives the time of begin and end and the rate of L2,
and shows that half precision is not bound by instructions: 16 at most for an element that is read
and written, on a B200. A B200 moves 50 to 400 MB at 0.54 of its bandwidth by one of the kernels and
at 0.75 by the other; which of them torch's are like is not known.

A row of a norm is read twice, a row of softmax over 1,024 three times; what the rows at work take
of L2 decides how much of that is read from memory. torch 2.14 keeps rows of softmax up to 48 KiB in
shared memory (`cunn_SoftMaxForwardSmem`), which the torch 2.1 of the tables did not: planner counts
one read of them. The backward of a norm is in no table and stays with the fit of steps; that of
softmax follows from its forward. Cards without a table: what the measured ones reach of their
copies, in the median.
""",
)
