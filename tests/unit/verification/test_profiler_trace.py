"""Traces of torch.profiler: which operator launched a kernel, which steps count, and bad files."""

from __future__ import annotations

import json
import random
import time
from typing import Any

import pytest

from planner.errors import UsageError
from planner.verification.profiler_trace import ProfilerTrace, profiler_trace
from planner.wire.trace import Phase
from tests.made_traces import AUTOGRAD, MAIN, T4, MadeTrace


def operators(trace: MadeTrace) -> dict[str, tuple[int, int, float]]:
    """Calls, launches and microseconds by name."""
    found = profiler_trace(trace.data()).operators
    return {one.name: (one.calls, one.launches, round(1e6 * one.measured_s, 3)) for one in found}


def test_a_kernel_is_of_the_innermost_operator() -> None:
    made = MadeTrace()
    made.operator("aten::matmul", 0, 100, [[8, 4], [4, 2]], ["float", "float"])
    made.operator("aten::mm", 10, 50, [[8, 4], [4, 2]], ["float", "float"])
    made.kernel(20, 7.5)
    made.kernel(40, 2.5)
    made.operator("aten::relu", 70, 20, [[8, 2]], ["float"])
    made.kernel(75, 4)
    assert operators(made) == {"aten::mm": (1, 2, 10.0), "aten::relu": (1, 1, 4.0)}


def test_what_planner_counts_as_one_operator_has_the_kernels_of_its_parts() -> None:
    made = MadeTrace()
    dims, types = [[2, 3, 8, 8], [4, 3, 3, 3]], ["float", "float"]
    made.operator("aten::conv2d", 0, 100, dims, types)
    made.operator("aten::convolution", 5, 90, dims, types)
    made.operator("aten::cudnn_convolution", 10, 40, dims, types)
    made.kernel(20, 10)
    made.operator("aten::add_", 60, 20, [[2, 4, 8, 8], [4]], types)
    made.kernel(65, 3)
    assert operators(made) == {"aten::convolution": (1, 2, 13.0)}


def test_a_cast_is_the_copy_in_it() -> None:
    made = MadeTrace()
    made.operator("aten::_to_copy", 0, 50, [[8], []], ["float", "Scalar"])
    made.operator("aten::copy_", 10, 20, [[8], [8]], ["c10::Half", "float"])
    made.kernel(15, 2)
    made.operator("aten::clone", 100, 50, [[8]], ["float"])
    made.operator("aten::copy_", 110, 20, [[8], [8]], ["float", "float"])
    made.kernel(115, 3)
    found = {one.name: one.dtypes for one in profiler_trace(made.data()).operators}
    assert found == {"aten::_to_copy": ("c10::Half", "float"), "aten::copy_": ("float", "float")}


def test_phases() -> None:
    made = MadeTrace()
    made.relu(0, 1, 10)
    made.operator("autograd::engine::evaluate_function: MmBackward0", 0, 50, thread=AUTOGRAD)
    made.operator("MmBackward0", 5, 40, [[8]], ["float"], thread=AUTOGRAD)
    made.operator("aten::mm", 10, 20, [[8, 4], [4, 2]], ["float", "float"], thread=AUTOGRAD)
    made.kernel(15, 1, thread=AUTOGRAD)
    made.add("user_annotation", "Optimizer.step#SGD.step", 100, 50, MAIN)
    made.operator("aten::add_", 110, 20, [[8], [8]], ["float", "float"])
    made.kernel(115, 1)
    made.add("user_annotation", "Optimizer.zero_grad#SGD.zero_grad", 200, 50, MAIN)
    made.operator("aten::zero_", 210, 20, [[8]], ["float"])
    made.kernel(215, 1)
    found = {one.name: one.phase for one in profiler_trace(made.data()).operators}
    assert found == {
        "aten::relu": Phase.FORWARD,
        "aten::mm": Phase.BACKWARD,
        "aten::add_": Phase.OPTIMIZER_STEP,
        "aten::zero_": Phase.BETWEEN_STEPS,
    }


def test_the_same_time_on_another_thread_is_another_operator() -> None:
    made = MadeTrace()
    made.operator("aten::relu", 0, 100, [[8]], ["float"])
    made.operator("aten::neg", 0, 100, [[8]], ["float"], thread=AUTOGRAD)
    made.kernel(50, 3, thread=AUTOGRAD)
    assert operators(made) == {"aten::neg": (1, 1, 3.0)}


def test_without_its_launch_a_kernel_has_the_operator_of_its_external_id() -> None:
    made = MadeTrace()
    made.operator("aten::relu", 0, 100, [[8]], ["float"], **{"External id": 5})
    made.kernel(None, 3, **{"External id": 5})
    made.kernel(None, 4, **{"External id": 6})
    found = profiler_trace(made.data())
    assert operators(made) == {"aten::relu": (1, 1, 3.0)}
    assert found.unlinked_s == pytest.approx(4e-6)


def test_copies_of_the_host_and_messages_are_apart() -> None:
    made = MadeTrace()
    made.operator("aten::copy_", 0, 50, [[8], [8]], ["float", "float"])
    made.kernel(5, 100, name="Memcpy HtoD (Pageable -> Device)", cat="gpu_memcpy")
    made.operator("aten::copy_", 60, 50, [[8], [8]], ["float", "float"])
    made.kernel(65, 6, name="Memcpy DtoD (Device -> Device)", cat="gpu_memcpy")
    made.operator("aten::zero_", 120, 50, [[8]], ["float"])
    made.kernel(125, 2, name="Memset (Device)", cat="gpu_memset")
    made.operator("c10d::allreduce_", 180, 50, [[8]], ["float"])
    made.kernel(185, 30, name="ncclDevKernel_AllReduce_Sum_f32_RING_LL(ncclDevKernelArgs)")
    found = profiler_trace(made.data())
    assert operators(made) == {"aten::copy_": (1, 1, 6.0), "aten::zero_": (1, 1, 2.0)}
    assert found.kernels_s == pytest.approx(8e-6)
    assert found.host_copies_s == pytest.approx(100e-6)
    assert found.messages_s == pytest.approx(30e-6)


def test_the_busiest_card_counts() -> None:
    made = MadeTrace()
    made.head["deviceProperties"].append({"id": 1, "name": "other", "totalGlobalMem": 5})
    made.operator("aten::relu", 0, 100, [[8]], ["float"])
    made.kernel(10, 3)
    made.kernel(20, 30, device=1)
    found = profiler_trace(made.data())
    assert (found.device, found.device_memory_bytes) == ("other", 5)
    assert found.kernels == 1


def stepped(*kernels_of_steps: int) -> ProfilerTrace:
    """Steps of 1000 us with a kernel of 2 us for each call; the first kernels are of none."""
    made = MadeTrace()
    made.relu(-50, 2, 10)
    for number, kernels in enumerate(kernels_of_steps):
        made.step(number, 1000 * number, 990)
        for place in range(kernels):
            made.relu(1000 * number + 20 * place, 2, 10)
    return profiler_trace(made.data())


@pytest.mark.parametrize(
    ("steps", "whole", "calls"),
    [
        ((10, 10, 10), 3, 30),
        ((4, 10, 10), 2, 20),  # the profiler began inside of the first
        ((10, 10, 0), 2, 20),  # the mark after the last prof.step()
        ((40, 10, 10), 2, 20),  # the first also chose algorithms
        ((10,), 1, 10),
        ((4, 10), 1, 10),
    ],
    ids=["all", "late", "end", "first", "one", "two"],
)
def test_whole_steps(steps: tuple[int, ...], whole: int, calls: int) -> None:
    found = stepped(*steps)
    assert (found.steps, found.left_out_steps) == (whole, len(steps) - whole)
    assert found.operators[0].calls == found.kernels == calls
    assert found.step_s == pytest.approx(990e-6)


def test_kernels_of_the_step_before_do_not_count() -> None:
    made = MadeTrace()
    made.step(6, 0, 1000)
    made.relu(100, 2, 10)
    made.kernel(None, 500, runs_at=50)
    assert profiler_trace(made.data()).kernels_s == pytest.approx(2e-6)


def test_without_marks_it_is_one_span() -> None:
    made = MadeTrace()
    made.relu(0, 2, 10)
    found = profiler_trace(made.data())
    assert (found.steps, found.left_out_steps, found.step_s) == (0, 0, None)
    assert found.shortest_s == pytest.approx(2e-6)


def test_arguments_of_a_call_are_kept_as_they_are() -> None:
    made = MadeTrace()
    made.operator(
        "aten::sum", 0, 50, [[8, 4], [], []], ["float", "ScalarList", "Scalar"],
        strides=[[4, 1], [], []], concrete=["", "[1]", "False"],
    )  # fmt: skip
    made.kernel(5, 2)
    (found,) = profiler_trace(made.data()).operators
    assert found.dims == ((8, 4), (), ())
    assert found.strides == ((4, 1), (), ())
    assert found.concrete == ("", "[1]", "False")


@pytest.mark.parametrize(
    ("name", "is_tf32"),
    [
        ("sm90_xmma_gemm_f32f32_tf32f32_f32_tn_n_tilesize128x128x32", True),
        ("ampere_sgemm_128x64_tn", False),
        ("cutlass::Kernel<cutlass_80_tensorop_s1688gemm_128x128_16x4_nn_align4>", True),
    ],
)
def test_products_in_tf32_have_its_name(name: str, is_tf32: bool) -> None:
    made = MadeTrace()
    made.operator("aten::mm", 0, 50, [[8, 4], [4, 2]], ["float", "float"])
    made.kernel(5, 2, name=name)
    (found,) = profiler_trace(made.data()).operators
    assert found.is_tf32 is is_tf32


def test_files_of_torch_1_8_have_other_names() -> None:
    made = MadeTrace()
    made.relu(0, 4, 10)
    old = {"cpu_op": "Operator", "kernel": "Kernel", "cuda_runtime": "Runtime"}
    for event in made.events:
        event["cat"] = old[event["cat"]]
        event["tid"] = str(event["tid"])
    assert operators(made) == {"aten::relu": (1, 1, 4.0)}


def test_a_packed_file_is_the_same() -> None:
    made = MadeTrace()
    made.relu(0, 4, 10)
    assert profiler_trace(made.packed()) == profiler_trace(made.data())
    assert profiler_trace(made.data()).cuda == "12.9"
    assert profiler_trace(made.data()).device == T4.name


def test_numbers_and_bytes_that_json_does_not_have_are_read() -> None:
    made = MadeTrace()
    made.relu(0, 4, 10)
    made.events[-1]["args"]["est. achieved occupancy %"] = float("nan")
    made.events[0]["args"]["Call stack"] = "caf\x00\x1b"
    data = made.data().replace(b"\\u0000\\u001b", b"\xe9\x01")
    assert profiler_trace(data).operators[0].calls == 1


@pytest.mark.parametrize(
    "damage",
    [
        {"ts": "soon"}, {"ts": None}, {"dur": -1}, {"dur": True}, {"args": None}, {"args": [1]},
        {"args": {"correlation": "x"}}, {"name": 5}, {"cat": 7}, {"ph": 3}, {"tid": {"a": 1}},
    ],
    ids=str,
)  # fmt: skip
def test_odd_events_do_not_matter(damage: dict[str, Any]) -> None:
    made = MadeTrace()
    made.relu(0, 4, 10)
    for event in [dict(one) for one in made.events]:
        made.events.append({**event, **damage})
    made.relu(50, 4, 10)
    assert profiler_trace(made.data()).operators[0].name in ("aten::relu", "5")


def without(cat: str) -> bytes:
    made = MadeTrace()
    made.relu(0, 4, 10)
    made.events = [event for event in made.events if event["cat"] != cat]
    return made.data()


def unshaped() -> bytes:
    made = MadeTrace()
    made.operator("aten::relu", 0, 50)
    made.kernel(5, 2)
    return made.data()


def packed() -> bytes:
    made = MadeTrace()
    for place in range(200):
        made.relu(20 * place, 4, 10 + place)
    return made.packed()


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "is not JSON"),
        (b"hello", "is not JSON"),
        (b"[1, 2]", "no trace of torch.profiler"),
        (b"{}", "it has no traceEvents"),
        (b'{"traceEvents": 5}', "no trace of torch.profiler"),
        (b'{"traceEvents": []}', "none of the events that torch.profiler writes"),
        (
            b'{"traceEvents": [{"ph": "X", "cat": "python", "name": "f", "ts": 1, "dur": 1}]}',
            "none of the events that torch.profiler writes",
        ),
        (b"[" * 100_000, "no trace of torch.profiler"),
        (b'{"traceEvents": [{"args": ' + b"[" * 100_000, "nested too deep"),
        (MadeTrace().data()[:-20], "is cut off"),
        (packed()[: len(packed()) // 2], "its gzip data end too early"),
        (packed()[:20] + b"\x00" * 50 + packed()[70:], "cannot be unpacked|too early|not JSON"),
        (without("kernel"), "a profile of the CPU alone"),
        (without("cpu_op"), "no operators that launch them"),
        (unshaped(), r"record_shapes=True"),
    ],
    ids=[
        "empty", "text", "list", "object", "number", "none", "other tool", "deep",
        "deep in an event", "cut", "cut gzip", "damaged gzip", "cpu", "kernels alone", "no shapes",
    ],
)  # fmt: skip
def test_bad_files(data: bytes, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        profiler_trace(data)


def test_no_damage_ends_in_another_error() -> None:
    made = MadeTrace()
    made.step(1, 0, 500)
    made.relu(0, 4, 10)
    made.operator("aten::mm", 50, 20, [[8, 4], [4, 2]], ["float", "float"])
    made.kernel(55, 3)
    whole, chosen = made.data(), random.Random(3)
    for _ in range(300):
        data = bytearray(whole)
        for _ in range(chosen.randrange(1, 6)):
            data[chosen.randrange(len(data))] = chosen.choice(b'{}[]",:0 9-e\\')
        try:
            profiler_trace(bytes(data))
        except UsageError:
            continue


def test_a_large_trace_takes_seconds() -> None:
    """200,000 operators in each other, 20 deep: a search among all would take an hour."""
    made = MadeTrace()
    for place in range(10_000):
        start = 100.0 * place
        for depth in range(19):
            made.operator(f"wrapper{depth}", start + depth, 90 - 2 * depth)
        made.operator("aten::relu", start + 20, 30, [[8]], ["float"])
        made.kernel(start + 30, 2)
    data = made.data()
    assert len(json.loads(data)["traceEvents"]) == 220_000
    begin = time.process_time()
    found = profiler_trace(data)
    assert time.process_time() - begin < 20
    assert found.operators[0].calls == 10_000


@pytest.mark.parametrize(
    ("names", "dtype"),
    [
        (
            (
                "void at::native::(anonymous namespace)::multi_tensor_apply_kernel<at::native::"
                "(anonymous namespace)::TensorListMetadata<2>, at::native::(anonymous namespace)::"
                "BinaryOpListAlphaFunctor<float, 2, 2, 0>, std::plus<float>, float>(int)",
            ),
            "float",
        ),
        (("void multi_tensor_apply_kernel<Metadata<4>, AdamFunctor<c10::BFloat16>>(int)",),
         "c10::BFloat16"),
        (
            (
                "void at::native::(anonymous namespace)::CatArrayBatchedCopy_contig<at::native::"
                "(anonymous namespace)::OpaqueType<2u>, unsigned int, 3, 128, 1>(int)",
            ),
            "c10::Half",
        ),
        (("void a::CatArrayBatchedCopy<long, unsigned int, 2, 128, 1>(long*)",), "long"),
        (("void multi_tensor_apply_kernel<AdamFunctor<float>>()",
          "void multi_tensor_apply_kernel<AdamFunctor<double>>()"), ""),
        (("void vectorized_elementwise_kernel<4, AddFunctor<float>>()",), ""),
    ],
    ids=["foreach", "fused", "bytes", "integers", "two", "no list"],
)  # fmt: skip
def test_kernels_of_lists_have_the_dtype_in_their_names(names: tuple[str, ...], dtype: str) -> None:
    made = MadeTrace()
    made.operator("aten::cat", 0, 50, [[[8], [4]], []], ["TensorList", "Scalar"])
    for place, name in enumerate(names):
        made.kernel(5 + place, 2, name=name)
    (found,) = profiler_trace(made.data()).operators
    assert found.list_dtype == dtype
    assert found.dims == (((8,), (4,)), ())
