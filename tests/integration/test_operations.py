"""What a training step may use runs on the emulated device, with the memory that it takes there."""

from __future__ import annotations

import subprocess
import sys

import pytest

import planner
from planner.results.estimate import Estimate
from tests.integration.child_runs import CUBLAS_KEEPS_WORKSPACES, WriteModel, traces

pytestmark = pytest.mark.slow

WORKSPACE_BYTES = 8_519_680  # cuBLAS below compute capability 9.0
MIB = 1 << 20


def run(path: str, gpu: str = "a100", **options: object) -> Estimate:
    return planner.estimate(path, gpu=gpu, max_batch=False, **{"batch_size": 4, **options})


def peak(path: str, gpu: str = "a100", **options: object) -> int:
    return run(path, gpu, **options).gpus[0].peak_allocated_bytes


CONVOLUTIONS = """
def build_model():
    return nn.Sequential(nn.Conv2d(3, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU(),
                         nn.Conv2d(64, 64, 3, padding=1), nn.ReLU())

def build_batch(batch_size):
    return torch.randn(batch_size, 3, 64, 64)
"""


def test_convolutions(write_model: WriteModel) -> None:
    plain, last, amp, amp_last = traces(
        write_model(CONVOLUTIONS),
        {},
        {"channels_last": True},
        {"precision": "amp-bf16"},
        {"precision": "amp-bf16", "channels_last": True},
    )
    activation_bytes = 4 * 64 * 64 * 64
    for trace, item_bytes in ((plain, 4), (last, 4), (amp, 2), (amp_last, 2)):
        # two convolutions, one norm and one ReLU keep their outputs for the backward
        kept_bytes = 4 * activation_bytes * item_bytes
        assert kept_bytes <= trace.peak_allocated_bytes < kept_bytes + 200 * MIB  # and workspaces


def test_convolutions_in_one_and_three_dimensions_and_transposed(write_model: WriteModel) -> None:
    path = write_model(
        """
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.one = nn.Sequential(nn.Conv1d(4, 8, 3), nn.ConvTranspose1d(8, 4, 3))
                self.two = nn.Sequential(nn.Conv2d(4, 8, 3, groups=4), nn.ConvTranspose2d(8, 4, 3))
                self.three = nn.Sequential(nn.Conv3d(4, 8, 3), nn.ConvTranspose3d(8, 4, 3))

            def forward(self, x):
                return self.one(x[:, :, 0, 0]), self.two(x[:, :, 0]), self.three(x)

        def build_model():
            return Net()

        def build_batch(batch_size):
            return torch.randn(batch_size, 4, 16, 32, 32)

        def training_step(model, batch):
            outputs = model(batch)
            assert [tuple(o.shape[2:]) for o in outputs] == [(32,), (32, 32), (16, 32, 32)]
            return sum(output.square().mean() for output in outputs)
        """
    )
    input_bytes = 4 * 4 * 16 * 32 * 32 * 4
    assert peak(path) >= 3 * input_bytes  # the 3-D stretch alone keeps input, middle and output


def test_normalisations(write_model: WriteModel) -> None:
    path = write_model(
        """
        def build_model():
            return nn.Sequential(nn.BatchNorm2d(16), nn.GroupNorm(4, 16), nn.LayerNorm(32),
                                 nn.InstanceNorm2d(16), nn.SyncBatchNorm(16))

        def build_batch(batch_size):
            return torch.randn(batch_size, 16, 32, 32)
        """
    )
    found = peak(path)
    activation_bytes = 4 * 16 * 32 * 32 * 4
    assert 5 * activation_bytes <= found < 12 * activation_bytes + 2 * WORKSPACE_BYTES


@pytest.mark.parametrize("cell", ["RNN", "LSTM", "GRU"])
def test_recurrent_networks(write_model: WriteModel, cell: str) -> None:
    path = write_model(
        f"""
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.cell = nn.{cell}(64, 128, num_layers=2, batch_first=True, dropout=0.1)

            def forward(self, x):
                return self.cell(x)[0]

        def build_model():
            return Net()

        def build_batch(batch_size):
            return torch.randn(batch_size, 50, 64)
        """
    )
    gates = {"RNN": 1, "LSTM": 4, "GRU": 3}[cell]
    estimate = run(path)
    assert estimate.counts.parameters == gates * 128 * (64 + 128 + 2 + 128 + 128 + 2)
    weights_bytes = 4 * estimate.counts.parameters
    # weights, gradients, both moments, and what two layers keep of 50 steps
    assert estimate.gpus[0].peak_allocated_bytes > 4 * weights_bytes + 2 * 50 * 4 * 128 * 4


ATTENTION = """
from torch.nn.attention import SDPBackend, sdpa_kernel

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.project = nn.Linear(64, 3 * 64)

    def forward(self, x):
        q, k, v = self.project(x).view(x.shape[0], -1, 4, 3 * 16).transpose(1, 2).chunk(3, -1)
        with sdpa_kernel(SDPBackend.{backend}):
            return nn.functional.scaled_dot_product_attention(q, k, v)

def build_model():
    return Net()

def build_batch(batch_size):
    return torch.randn(batch_size, 1024, 64)
"""


@pytest.mark.parametrize(
    ("backend", "name"),
    [
        ("FLASH_ATTENTION", "flash"),
        ("EFFICIENT_ATTENTION", "efficient"),
        ("MATH", "math"),
        ("CUDNN_ATTENTION", "cudnn"),
    ],
    ids=["flash", "efficient", "math", "cudnn"],
)
def test_attention_backends(write_model: WriteModel, backend: str, name: str) -> None:
    estimate = run(write_model(ATTENTION.format(backend=backend)), precision="amp-bf16")
    card = estimate.gpus[0]
    assert card.attention_backends == (name,)
    scores_bytes = 4 * 4 * 1024 * 1024 * 2  # batch x heads x queries x keys, bfloat16
    if name == "math":
        assert card.peak_allocated_bytes > 2 * scores_bytes  # scores and softmax are kept
    else:
        assert card.peak_allocated_bytes < scores_bytes + 2 * WORKSPACE_BYTES


LINEAR = """
def build_model():
    return nn.Sequential(*[nn.Linear(1024, 1024, bias=False) for _ in range(4)])

def build_batch(batch_size):
    return torch.randn(batch_size, 1024)

def training_step(model, batch):
    return model(batch).square().mean()
"""
WEIGHT_BYTES = 1024 * 1024 * 4


def test_autocast_keeps_one_copy_of_the_weights_in_low_precision(write_model: WriteModel) -> None:
    path = write_model(
        """
        def build_model():
            return nn.Sequential(*[nn.Linear(1024, 1024, bias=False) for _ in range(4)])

        def build_batch(batch_size):
            return torch.randn(batch_size, 1024)

        GROWN = []

        def training_step(model, batch):
            before = torch.cuda.memory_allocated()
            output = model(batch)
            GROWN.append(torch.cuda.memory_allocated() - before)
            weights = 4 * 1024 * 1024 * 2
            activations = 5 * len(batch) * 1024 * 2  # the batch and four outputs, bfloat16
            assert GROWN[1:] == [weights + activations] * len(GROWN[1:]), GROWN
            return output.float().mean()
        """
    )
    traces(path, {"precision": "amp-bf16"})


def test_gradient_scaler_steps_the_optimizer(write_model: WriteModel) -> None:
    (trace,) = traces(write_model(LINEAR), {"precision": "amp-fp16", "optimizer": "adamw"})
    # weights, gradients and both moments: the step was not skipped for zeros that look infinite
    assert trace.peak_allocated_bytes >= 4 * 4 * WEIGHT_BYTES


def test_foreach_takes_one_more_copy_of_the_parameters_than_fused(write_model: WriteModel) -> None:
    foreach, fused, loop = (
        trace.peak_allocated_bytes
        for trace in traces(
            write_model(LINEAR),
            {"optimizer": "adamw", "optimizer_arguments": {"foreach": True}},
            {"optimizer": "adamw", "optimizer_arguments": {"fused": True}},
            {"optimizer": "adamw", "optimizer_arguments": {"foreach": False}},
        )
    )
    batch_and_loss_bytes = 4 * 1024 * 4 + 512
    kept_bytes = 2 * WORKSPACE_BYTES if CUBLAS_KEEPS_WORKSPACES else 0
    assert foreach == 5 * 4 * WEIGHT_BYTES + batch_and_loss_bytes + kept_bytes
    assert fused < loop < foreach


BLOCKS = """
from torch.utils.checkpoint import checkpoint

MODE = None

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Linear(64, 1024), nn.GELU(), nn.Linear(1024, 64)) for _ in range(6))

    def forward(self, x):
        for block in self.blocks:
            x = block(x) if MODE is None else checkpoint(block, x, use_reentrant=MODE)
        return x

def build_model():
    return Net()

def build_batch(batch_size):
    global MODE
    MODE = {2: None, 3: False, 4: True}[batch_size]
    return torch.randn(4, 512, 64, requires_grad=True)
"""


def test_checkpointing_keeps_the_activations_of_one_block(write_model: WriteModel) -> None:
    every, without_reentry, with_reentry = (
        trace.peak_allocated_bytes
        for trace in traces(
            write_model(BLOCKS), {"batch_size": 2}, {"batch_size": 3}, {"batch_size": 4}
        )
    )
    hidden_bytes = 4 * 512 * 1024 * 4
    # a block keeps two hidden activations; four of six blocks surely need not
    assert every - without_reentry >= 4 * 2 * hidden_bytes
    assert every - with_reentry >= 4 * 2 * hidden_bytes


def test_cuda_graph_capture_and_replay(write_model: WriteModel) -> None:
    path = write_model(
        """
        def build_model():
            return nn.Linear(1024, 1024)

        def build_batch(batch_size):
            return torch.randn(batch_size, 1024)

        STATE = {}

        def training_step(model, batch):
            if not STATE:
                side = torch.cuda.Stream()
                side.wait_stream(torch.cuda.current_stream())
                with torch.cuda.stream(side):
                    model(batch)
                torch.cuda.current_stream().wait_stream(side)
                graph = torch.cuda.CUDAGraph()
                with torch.cuda.graph(graph):
                    STATE["output"] = model(batch).square().mean()
                STATE["graph"] = graph
            STATE["graph"].replay()
            return model(batch).square().mean()
        """
    )
    weights_bytes = 1024 * 1024 * 4
    assert peak(path) > 4 * weights_bytes


def test_embedding_backward_with_many_indices(write_model: WriteModel) -> None:
    """sm_89 has no code of its own in the wheel, sm_70 none at all in new ones."""
    path = write_model(
        """
        def build_model():
            return nn.Embedding(30_000, 64)

        def build_batch(batch_size):
            return torch.randint(0, 30_000, (batch_size, 5_000))
        """
    )
    estimate = planner.estimate(path, gpu=["rtx4090", "v100"], batch_size=4, max_batch=False)
    weights_bytes = 30_000 * 64 * 4
    for card in estimate.gpus:
        assert card.peak_allocated_bytes >= 4 * weights_bytes + 4 * 5_000 * 64 * 4
    said = [text for text in estimate.assumptions if "has no code for compute capability" in text]
    assert [text.partition(":")[0] for text in said] == ["v100"] * (_oldest_architecture() > 70)


def _oldest_architecture() -> int:
    code = "import torch; print(torch._C._cuda_getArchFlags())"
    flags = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return min(int(flag[3:]) for flag in flags.stdout.split() if flag.startswith("sm_"))


def test_data_loader_with_workers_and_pinned_memory(write_model: WriteModel) -> None:
    path = write_model(
        """
        from torch.utils.data import DataLoader, TensorDataset

        def build_model():
            return nn.Linear(256, 256)

        def build_batch(batch_size):
            return torch.randn(batch_size, 256)

        def training_step(model, batch):
            loader = DataLoader(TensorDataset(torch.ones(64, 256)), batch_size=len(batch),
                                num_workers=2, pin_memory=True)
            total = 0
            for (x,) in loader:
                assert x.is_pinned() and x.sum() == x.numel()  # real memory with real values
                total = total + model(x.to("cuda", non_blocking=True)).mean()
            return total
        """
    )
    estimate = run(path, batch_size=16)
    assert estimate.gpus[0].peak_allocated_bytes > 4 * 256 * 256 * 4
    assert not estimate.warnings


def test_value_reads_are_reported_with_file_and_line(write_model: WriteModel) -> None:
    path = write_model(
        """
        def build_model():
            return nn.Linear(8, 8)

        def build_batch(batch_size):
            return torch.randn(batch_size, 8)

        def training_step(model, batch):
            output = model(batch)
            output.sum().item()
            if output.mean() > 1:
                raise AssertionError("a single number is drawn between 0 and 1")
            output.nonzero()
            return output.mean()
        """
    )
    estimate = run(path)
    places = {(read.line, read.count) for read in estimate.values.reads}
    assert places == {(12, 3), (13, 3), (15, 3)}
    (drawn,) = [text for text in estimate.assumptions if "drawn at random" in text]
    assert "user_model.py:12 in training_step, 3 times" in drawn
    (decided,) = estimate.warnings
    for line in (13, 15):
        assert f"user_model.py:{line} in training_step, 3 times" in decided


def test_compiled_model(write_model: WriteModel) -> None:
    path = write_model(
        """
        def build_model():
            return torch.compile(nn.Sequential(nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 8)))

        def build_batch(batch_size):
            return torch.randn(batch_size, 256)
        """
    )
    estimate = run(path)
    weights_bytes = 4 * (256 * 256 + 256 + 256 * 8 + 8)
    assert estimate.counts.parameters * 4 == weights_bytes
    assert estimate.gpus[0].peak_allocated_bytes > 4 * weights_bytes


def test_environment_variables_set_after_cudnn_was_loaded(write_model: WriteModel) -> None:
    """cuDNN reads variables by a C library of its own; setting one here moves the array of all."""
    path = write_model(
        """
        import os
        from torch.nn.attention import SDPBackend, sdpa_kernel

        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.conv = nn.Conv2d(8, 8, 3, padding=1)

            def forward(self, images):
                for number in range(200):
                    os.environ[f"PLANNER_TEST_{number}"] = "1"
                self.reused = [b"1" * size for size in range(512, 8192, 8)]
                heads = self.conv(images).flatten(2).unsqueeze(1).half()
                with sdpa_kernel([SDPBackend.CUDNN_ATTENTION]):
                    return nn.functional.scaled_dot_product_attention(heads, heads, heads)

        def build_batch(batch_size):
            return torch.randn(batch_size, 8, 8, 8)
        """
    )
    assert run(path, gpu="h100").gpus[0].attention_backends == ("cudnn",)
