"""Recording on the emulated device: the run stays as it was, and every byte has a meaning."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from planner.emulator.build import EmulatedDevice
from planner.units import MIB
from planner.wire.trace import AllocationEvent, EventKind, Phase, TensorCategory
from tests.integration.child_runs import CUBLAS_KEEPS_WORKSPACES
from tests.integration.recorded_runs import ROOT, Recorded, Run, recorded_runs, settled

FILES = sorted(path.stem for path in (ROOT / "models").glob("*.py"))
# Variants under which other paths of torch allocate.
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "resnet50-amp-bf16": ("resnet50", {"precision": "amp-bf16"}),
    "gpt2-amp-bf16": ("gpt2", {"precision": "amp-bf16"}),
    "resnet50-channels-last": ("resnet50", {"precision": "amp-fp16", "channels_last": True}),
    "gpt2-checkpointed": ("gpt2", {"checkpoint_activations": True}),
    "bert-adamw-checkpointed": ("bert", {"optimizer": "adamw", "checkpoint_activations": True}),
    "vit-accumulate": ("vit", {"accumulate": 2, "set_to_none": False, "optimizer": "sgd-momentum"}),
    "t5-adafactor-bf16": ("t5", {"precision": "bf16", "optimizer": "adafactor"}),
    "gpt2-infer": ("gpt2", {"mode": "infer", "precision": "amp-bf16"}),
    "lstm-one-step": ("lstm", {"steps": 1}),
    "unet-no-optimizer": ("unet", {"optimizer": "none"}),
}
CASES = {
    **{name: (name, {}) for name in FILES},
    **VARIANTS,
}
UNATTRIBUTED_FRACTION = 0.01


@pytest.fixture(scope="module")
def recorded(device: EmulatedDevice) -> dict[str, Recorded]:
    """All cases, run once."""
    runs = [
        Run(target=f"models/{name}.py", options={"batch_size": 2, **options})
        for name, options in CASES.values()
    ]
    return dict(zip(CASES, recorded_runs(runs, device), strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_recording_changes_nothing(recorded: dict[str, Recorded], case: str) -> None:
    run = recorded[case]
    assert run.measured["failure"] is None
    assert run.recorded == run.measured
    assert run.logged == run.measured


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_the_requests_alone_are_those_of_the_events(
    recorded: dict[str, Recorded], case: str
) -> None:
    run = recorded[case]
    assert len(run.requests) > 100
    assert settled(run.requests) == settled(run.events_alone())


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_the_events_add_up_to_torchs_own_peaks(recorded: dict[str, Recorded], case: str) -> None:
    run = recorded[case]
    peak = run.breakdown()
    assert peak.uncounted_bytes == 0
    assert peak.total() == run.measured["peak_allocated_bytes"]
    assert list(peak.step_peak_bytes) == list(run.measured["step_peak_allocated_bytes"])
    assert peak.unattributed_bytes <= UNATTRIBUTED_FRACTION * peak.total()


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_every_block_is_asked_for_once_and_given_back_once(
    recorded: dict[str, Recorded], case: str
) -> None:
    sizes: dict[int, int] = {}
    seen = set()
    for event in recorded[case].allocations.events:
        if event.kind is EventKind.ALLOC:
            assert event.block not in seen
            seen.add(event.block)
            sizes[event.block] = event.size_bytes
        else:
            assert event.kind is EventKind.FREE
            assert sizes.pop(event.block) == event.size_bytes
    assert len(seen) > 50


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_every_request_of_a_step_has_an_operator_and_a_block(
    recorded: dict[str, Recorded], case: str
) -> None:
    for event, origin in recorded[case].allocated():
        if event.step:
            assert event.block_bytes >= event.size_bytes
            assert origin.operator != ""


@pytest.mark.slow
def test_weights_gradients_and_state_have_their_sizes(recorded: dict[str, Recorded]) -> None:
    weights = recorded["resnet50"].measured["counts"]["parameters"] * 4
    sums: dict[TensorCategory, int] = {}
    for event, _ in recorded["resnet50"].allocated():
        sums[event.category] = sums.get(event.category, 0) + event.size_bytes
    state_words = 161 * 4  # AdamW counts steps for each tensor, on the host
    assert sums[TensorCategory.PARAMETER] == weights
    assert sums[TensorCategory.GRADIENT] == 3 * weights  # new in each of three steps
    assert 2 * weights <= sums[TensorCategory.OPTIMIZER_STATE] <= 2 * weights + state_words
    assert sums[TensorCategory.INPUT] == 3 * 2 * 3 * 224 * 224 * 4


@pytest.mark.slow
def test_a_saved_activation_knows_its_module_operator_and_line(
    recorded: dict[str, Recorded],
) -> None:
    text = (ROOT / "models" / "resnet50.py").read_text().splitlines()
    named = {
        (origin.module, origin.operator, origin.source)
        for event, origin in recorded["resnet50"].allocated()
        if event.category is TensorCategory.SAVED_ACTIVATION
    }
    lines = [source for module, operator, source in named if module == "stages.0.conv3"]
    assert len(lines) == 1
    file, _, line = lines[0].rpartition(":")
    assert file == str(ROOT / "models" / "resnet50.py")
    assert "self.conv3(" in text[int(line) - 1]


@pytest.mark.slow
def test_a_gradient_belongs_to_the_module_of_its_parameter(recorded: dict[str, Recorded]) -> None:
    for case in ("gpt2", "vit"):
        for event, origin in recorded[case].allocated():
            if event.category is TensorCategory.GRADIENT:
                assert origin.tensor != ""
                assert event.phase is Phase.BACKWARD
                assert "Backward" in origin.operator


@pytest.mark.slow
def test_recomputed_blocks_are_made_in_backward(recorded: dict[str, Recorded]) -> None:
    again = {
        origin.module
        for event, origin in recorded["gpt2-checkpointed"].allocated()
        if event.phase is Phase.BACKWARD and origin.operator == "aten::gelu"
    }
    assert again == {f"blocks.{number}.mlp.1" for number in range(12)}


CUBLAS_BYTES, CUBLASLT_BYTES = 8_519_680, MIB  # what a product is given below capability 9.0


def workspaces(run: Recorded) -> list[AllocationEvent]:
    """Requests for workspaces and their ends, after the build."""
    return [
        event
        for event in run.allocations.events
        if event.category is TensorCategory.WORKSPACE and event.phase is not Phase.BUILD
    ]


@pytest.mark.slow
@pytest.mark.parametrize("case", ["gpt2", "lstm", "lstm-one-step", "mlp"])
def test_workspaces_of_products_are_told_from_tensors(
    recorded: dict[str, Recorded], case: str
) -> None:
    events = workspaces(recorded[case])
    made = [event for event in events if event.kind is EventKind.ALLOC]
    if CUBLAS_KEEPS_WORKSPACES:
        # one for each thread that multiplies matrices: the main one and autograd's
        assert [event.size_bytes for event in made] == [CUBLAS_BYTES, CUBLAS_BYTES]
        return
    assert {event.size_bytes for event in made} <= {CUBLAS_BYTES, CUBLASLT_BYTES}
    # given back before the next product begins
    assert [event.kind for event in events] == [EventKind.ALLOC, EventKind.FREE] * len(made)


@pytest.mark.slow
@pytest.mark.skipif(CUBLAS_KEEPS_WORKSPACES, reason="kept from one product to the next")
def test_every_product_has_its_workspace(recorded: dict[str, Recorded]) -> None:
    made = [event for event in workspaces(recorded["mlp"]) if event.kind is EventKind.ALLOC]
    # Three layers with a bias; backward makes the gradients of three weights and two activations.
    step = [CUBLASLT_BYTES] * 3 + [CUBLAS_BYTES] * 5
    assert [event.size_bytes for event in made] == step * 3


@pytest.mark.slow
def test_workspaces_of_convolutions_are_told_from_tensors(recorded: dict[str, Recorded]) -> None:
    convolutions = [
        origin
        for event, origin in recorded["resnet50"].allocated()
        if event.category is TensorCategory.WORKSPACE and origin.operator == "aten::conv2d"
    ]
    assert convolutions


def test_out_of_memory_is_recorded_up_to_it(device: EmulatedDevice) -> None:
    (run,) = recorded_runs(
        [
            Run(
                target="models/gpt2.py",
                options={"batch_size": 4},
                capacity_bytes=3000 * MIB,
            )
        ],
        device,
    )
    assert run.measured["outcome"] == "oom"
    assert run.recorded["peak_allocated_bytes"] == run.measured["peak_allocated_bytes"]
    assert run.breakdown().total() == run.measured["peak_allocated_bytes"]
    assert run.breakdown().uncounted_bytes == 0
    assert run.breakdown().peak_phase in (Phase.FORWARD, Phase.LOSS, Phase.BACKWARD)
    assert run.logged == run.measured
    assert run.requests == run.events_alone()


FAILING = """
    calls = []

    def build_model():
        model = nn.Linear(64, 64)
        if {where!r} == "build":
            model.to("cuda")
            raise ValueError
        return model

    def build_batch(batch_size):
        return torch.randn(batch_size, 64)

    def training_step(model, batch):
        calls.append(1)
        loss = model(batch).mean()
        if len(calls) == {step}:
            raise ValueError
        return loss
"""


# A batch and an output in each step, and the output's gradient in those that end.
@pytest.mark.parametrize(
    ("where", "step", "alike"), [("build", 0, 0), ("step", 1, 2), ("step", 2, 2 + 1 + 2)]
)
def test_a_failure_is_recorded_up_to_it(
    device: EmulatedDevice, write_model: Callable[..., str], where: str, step: int, alike: int
) -> None:
    path = write_model(FAILING.format(where=where, step=step))
    options = {"batch_size": 8, "build_on": "device"}
    (run,) = recorded_runs([Run(target=path, options=options)], device)
    assert run.measured["failure"]["kind"] == "ValueError"
    assert run.logged == run.recorded == run.measured
    assert run.requests == run.events_alone()
    sizes = [size for kind, _, size, _ in run.requests if kind == EventKind.ALLOC.value]
    assert sizes[:2] == [64 * 64 * 4, 64 * 4]
    assert sizes.count(8 * 64 * 4) == alike


UNUSUAL = """
    class Scale(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * 2

        @staticmethod
        def backward(ctx, grad):
            return torch.cat([grad, grad])[: grad.shape[0]] * 1.5  # the line of backward

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(512, 512)
            self.register_buffer("mask", torch.ones(512, 512))
            self.cache = None

        def forward(self, x):
            if self.cache is None:
                self.cache = torch.zeros(1024, 1024, device=x.device)
            side = torch.cuda.Stream()
            y = Scale.apply(self.layer(x)) @ self.mask
            with torch.cuda.stream(side):
                z = y * 3
            y.record_stream(side)
            return z

    def build_model():
        return Model()

    def build_batch(batch_size):
        return torch.randn(batch_size, 512)

    def training_step(model, batch):
        loss = model(batch).square().mean()
        torch.cuda.empty_cache()
        return loss

    def build_optimizer(parameters):
        return torch.optim.SGD(parameters, lr=0.1)
"""


def test_what_the_users_code_does_by_itself(
    device: EmulatedDevice, write_model: Callable[..., str]
) -> None:
    path = write_model(UNUSUAL)
    (run,) = recorded_runs([Run(target=path, options={"batch_size": 64})], device)
    assert run.logged == run.recorded == run.measured
    assert run.requests == run.events_alone()
    assert run.breakdown().total() == run.measured["peak_allocated_bytes"]
    kinds = [event.kind for event in run.allocations.events]
    assert EventKind.EMPTY_CACHE in kinds
    assert {event.stream for event in run.allocations.events} >= {0, 1}
    sizes = {
        (event.category, event.size_bytes): origin
        for event, origin in run.allocated()
        if event.step == 1
    }
    assert sizes[TensorCategory.BUFFER, 1024 * 1024 * 4].source.startswith(path)
    text = Path(path).read_text().splitlines()
    cat = next(origin for event, origin in run.allocated() if event.size_bytes == 2 * 64 * 512 * 4)
    assert "the line of backward" in text[int(cat.source.rpartition(":")[2]) - 1]
    built = {
        (event.category, origin.tensor) for event, origin in run.allocated() if event.step == 0
    }
    assert built == {
        (TensorCategory.PARAMETER, "weight"),
        (TensorCategory.PARAMETER, "bias"),
        (TensorCategory.BUFFER, "mask"),
    }
