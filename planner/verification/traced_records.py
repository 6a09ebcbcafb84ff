"""Builds the record of an operator from what the profiler wrote of its arguments.

In: TracedOperators. Out: OperatorRecords, as the count of a step would have them. Convention: the
result of an operator follows from its arguments by a rule for each name. An operator without a
rule, or with an argument that the profiler left out, has no record. Bytes are those of
planner/worker/count/traffic.py: each tensor is read or written once.
"""

from __future__ import annotations

from planner.timing.kernels import tensor_bytes
from planner.verification.kernel_factors import MeasuredKernels, MeasuredOperator
from planner.verification.profiler_trace import ProfilerTrace, TracedOperator
from planner.verification.traced_arguments import Arguments, NoRuleError
from planner.verification.traced_layers import LAYER_RULES
from planner.verification.traced_tensors import TENSOR_RULES
from planner.wire.trace import FlopSource, OperatorRecord

RULES = {**TENSOR_RULES, **LAYER_RULES}
"""How the result of an operator of aten follows from its arguments, by its name."""


def measured_kernels(trace: ProfilerTrace) -> MeasuredKernels:
    """Returns the operators of a trace that have a record."""
    found = []
    for one in trace.operators:
        record = record_of(one)
        if record is not None:
            found.append(
                MeasuredOperator(operator=record, measured_s=one.measured_s, is_tf32=one.is_tf32)
            )
    return MeasuredKernels(
        steps=max(1, trace.steps),
        kernels_s=trace.kernels_s,
        shortest_s=trace.shortest_s,
        operators=tuple(found),
    )


def record_of(operator: TracedOperator) -> OperatorRecord | None:
    """Returns the record of all calls; None: no rule has its result."""
    library, _, name = operator.name.rpartition("::")
    rule = RULES.get(name)
    if library != "aten" or rule is None or not operator.dims:
        return None
    try:
        arguments = Arguments(operator)
        found = rule(arguments)
    except (NoRuleError, IndexError):
        return None
    written = sum(map(tensor_bytes, (*found.outputs, *found.changed)))
    unread = [arguments.tensor(place) for place in found.unread]
    read = sum(one.bytes for one in arguments.all) - sum(map(tensor_bytes, unread))
    if found.table is not None:
        read -= max(0, tensor_bytes(arguments.tensor(found.table)) - written)
    return OperatorRecord(
        name=operator.name,
        phase=operator.phase,
        inputs=tuple(one.shape for one in arguments.all),
        outputs=found.outputs,
        calls=operator.calls,
        flops=found.flops,
        flop_source=FlopSource.ELEMENTWISE if found.flops is None else FlopSource.FORMULA,
        read_bytes=max(0, read),
        written_bytes=written,
        launches=round(operator.launches / operator.calls),
        attention=found.attention,
    )
