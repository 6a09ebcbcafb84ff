"""Steps that are not one loss and one optimizer, batches that are objects, compiled models.

On the emulated device, with sizes that are computed by hand: a weight has 512 x 512 floats, 1 MiB.
"""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import Any

import pytest

from planner.config.parse import step_config
from planner.estimation.largest_search import RecordedStep, recorded_run
from planner.units import KIB, MIB
from planner.wire.trace import RunOutcome, TensorCategory
from tests.integration.child_runs import WriteModel, running

pytestmark = pytest.mark.slow

BATCH = 64
ROWS_BYTES = BATCH * 512 * 4  # of x, and of each layer's output

GAN = """
def build_model():
    return nn.ModuleDict({
        "g": nn.Linear(512, 512, bias=False),
        "d": nn.Sequential(nn.Linear(512, 512, bias=False), nn.Sigmoid()),
    })

def build_batch(batch_size):
    return torch.randn(batch_size, 512), torch.randn(batch_size, 512)
"""
OWN_STEP = (
    GAN
    + """
def build_optimizer(parameters, model):
    return {
        "g": torch.optim.SGD(model["g"].parameters(), 0.1, momentum=0.9),
        "d": torch.optim.Adam(model["d"].parameters()),
    }

average = []

def training_step(model, batch, optimizers):
    real, noise = batch
    optimizers["d"].zero_grad()
    fake = model["g"](noise)
    (model["d"](fake.detach()) - model["d"](real)).mean().backward()
    optimizers["d"].step()
    optimizers["g"].zero_grad()
    model["d"](fake).mean().backward()
    optimizers["g"].step()
    with torch.no_grad():
        if not average:
            average.append(model["g"].weight.detach().clone())
        average[0].lerp_(model["g"].weight, 0.01)
"""
)
INNER_OPTIMIZER = (
    GAN
    + """
optimizers = {}

def build_optimizer(parameters, model):
    return torch.optim.SGD(model["g"].parameters(), 0.1, momentum=0.9)

def training_step(model, batch):
    real, noise = batch
    if not optimizers:
        optimizers["d"] = torch.optim.Adam(model["d"].parameters())
    optimizers["d"].zero_grad()
    fake = model["g"](noise)
    (model["d"](fake.detach()) - model["d"](real)).mean().backward()
    optimizers["d"].step()
    return model["d"](fake).mean()
"""
)
TWO_IN_THE_LOOP = (
    GAN
    + """
def build_optimizer(parameters, model):
    return [
        torch.optim.SGD(model["g"].parameters(), 0.1, momentum=0.9),
        torch.optim.Adam(model["d"].parameters()),
    ]

def training_step(model, batch):
    return model["d"](model["g"](batch[1])).mean() + model["d"](batch[0]).mean()
"""
)


def recorded(path: str, **options: Any) -> RecordedStep:
    with running(path) as (runner, profile):
        found = recorded_run(runner, profile, step_config({"batch_size": BATCH, **options}))
    assert found.trace.outcome is RunOutcome.COMPLETED, found.trace.failure
    return found


def categories(found: RecordedStep) -> dict[str, int]:
    assert found.breakdown is not None
    return found.breakdown.by_category()


def rounded(size_bytes: int) -> int:
    """As the allocator rounds a small block."""
    return -(-size_bytes // 512) * 512


def births(found: RecordedStep, category: TensorCategory, size_bytes: int) -> int:
    """How often memory of this size was asked for as this, in the second step."""
    assert found.allocations is not None
    return sum(
        event.kind.value == "alloc"
        and event.step == 2
        and (event.category, event.size_bytes) == (category, size_bytes)
        for event in found.allocations.events
    )


@pytest.mark.parametrize(
    ("text", "kept_bytes"),
    [
        pytest.param(OWN_STEP, MIB, id="own step"),
        pytest.param(INNER_OPTIMIZER, 0, id="an optimizer within the step"),
        pytest.param(TWO_IN_THE_LOOP, 0, id="two in the loop"),
    ],
)
def test_the_state_of_every_optimizer_and_what_the_step_keeps(
    write_model: WriteModel, text: str, kept_bytes: int
) -> None:
    found = categories(recorded(write_model(text)))
    assert found["parameter"] == 2 * MIB
    assert found["optimizer state"] == MIB + 2 * MIB  # a momentum; two of Adam
    assert found.get("buffer", 0) == kept_bytes
    assert found.get("unattributed", 0) == 0


def test_activations_of_every_part_are_saved_ones(write_model: WriteModel) -> None:
    found = recorded(write_model(OWN_STEP))
    # g's output; in each of three runs of d a sigmoid's, which its backward needs
    assert births(found, TensorCategory.SAVED_ACTIVATION, ROWS_BYTES) == 1 + 3
    assert found.trace.optimizer == "SGD, Adam"


def test_the_largest_batch_of_such_a_step(write_model: WriteModel) -> None:
    """Requests at several batches follow from one another, as in any other step."""
    with running(write_model(OWN_STEP)) as (runner, profile):
        traces = [runner.run(profile, step_config({"batch_size": size})) for size in (64, 128, 192)]
    peaks = [trace.peak_allocated_bytes for trace in traces]
    assert peaks[2] - peaks[1] == peaks[1] - peaks[0] > 0


LIGHTNING = """
class LightningModule(nn.Module):
    automatic_optimization = True

class Net(LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(512, 512, bias=False)

    def forward(self, x):
        return self.layer(x)

    def training_step(self, batch, batch_idx):
        self.log("step", batch_idx)
        return {"loss": self(batch).square().mean()}

    def configure_optimizers(self):
        return {"optimizer": torch.optim.SGD(self.parameters(), 0.1, momentum=0.9)}

def build_batch(batch_size):
    return torch.randn(batch_size, 512)
"""


def test_a_lightning_module(write_model: WriteModel) -> None:
    found = recorded(write_model(LIGHTNING) + ":Net")
    assert categories(found)["optimizer state"] == MIB
    assert found.trace.optimizer == "SGD"
    # gradients of the last step are there in the forward, as in Lightning's loop
    assert categories(found)["gradient"] == MIB
    assert found.trace.assumptions[0].startswith("step: Net.training_step, with Net.configure_")


def test_an_inference_step(write_model: WriteModel) -> None:
    text = """
    def build_model():
        return nn.Linear(512, 512, bias=False)

    def build_batch(batch_size):
        return torch.randn(batch_size, 512)

    def inference_step(model, batch):
        rows = [batch]
        for _ in range(8):
            rows.append(model(rows[-1]))
        return torch.cat(rows)
    """
    found = recorded(write_model(text), mode="infer")
    # at the end of the second call: its batch, its 8 results, what they are put into, and what
    # the first call has given
    own = categories(found)
    assert own["input"] == ROWS_BYTES
    assert own["parameter"] == MIB
    assert found.trace.peak_allocated_bytes - own.get("workspace", 0) == (
        MIB + (1 + 8 + 9 + 9) * ROWS_BYTES
    )


def test_a_batch_that_is_an_object_with_real_integers(write_model: WriteModel) -> None:
    text = """
    class Graphs:
        def __init__(self, nodes, edges, count):
            self.nodes, self.edges, self.num_graphs = nodes, edges, count

        def to(self, device):
            self.nodes, self.edges = self.nodes.to(device), self.edges.to(device)
            return self

    def build_model():
        return nn.Linear(512, 512, bias=False)

    def build_batch(batch_size):
        edges = torch.arange(64 * batch_size).view(2, -1)
        return Graphs(torch.randn(4 * batch_size, 512), edges, batch_size)

    def training_step(model, graphs):
        assert graphs.nodes.is_cuda and graphs.edges.is_cuda
        return model(graphs.nodes[graphs.edges[0]]).mean()
    """
    found = recorded(write_model(text))
    assert categories(found)["input"] == 4 * ROWS_BYTES + 64 * BATCH * 8
    assert found.trace.warnings == ()


def test_a_sparse_batch(write_model: WriteModel) -> None:
    text = """
    def build_model():
        return nn.Linear(512, 512, bias=False)

    def build_batch(batch_size):
        rows = torch.arange(batch_size + 1) * 4
        columns = torch.arange(4 * batch_size) % batch_size
        adjacency = torch.sparse_csr_tensor(rows, columns, torch.ones(4 * batch_size))
        return torch.randn(batch_size, 512), adjacency

    def training_step(model, batch):
        x, adjacency = batch
        return torch.sparse.mm(adjacency, model(x)).mean()
    """
    found = recorded(write_model(text))
    row_ends_bytes = rounded((BATCH + 1) * 8)
    assert categories(found)["input"] == ROWS_BYTES + 4 * BATCH * (8 + 4) + row_ends_bytes


def test_a_batch_of_the_data_set(write_model: WriteModel) -> None:
    text = """
    def build_model():
        return nn.Linear(512, 512, bias=False)

    def build_dataset():
        return [torch.full((length, 512), 1.0) for length in (1, 5, 3)]

    def collate(items):
        return nn.utils.rnn.pad_sequence(items, batch_first=True)
    """
    found = recorded(write_model(text), batch_from_data=True)
    assert categories(found)["input"] == 5 * ROWS_BYTES
    assert found.trace.assumptions[0] == (
        "batch: the first 64 items of build_dataset, by collate of the model file"
    )


def test_a_compiled_model_has_its_breakdown(write_model: WriteModel) -> None:
    text = """
    def build_model():
        net = nn.Sequential(nn.Linear(512, 512, bias=False), nn.Sigmoid())
        return torch.compile(net)

    def build_batch(batch_size):
        return torch.randn(batch_size, 512)
    """
    path = write_model(text)
    with running(path) as (runner, profile):
        tuning = runner.run(profile, step_config({"batch_size": BATCH}))
    found = recorded(path)
    # Each run tunes kernels in step 1, with a buffer as large as the L2 cache of 40 MiB.
    steps = found.trace.step_peak_allocated_bytes
    assert tuning.step_peak_allocated_bytes == steps
    assert steps[0] > 40 * MIB
    own = categories(found)
    assert own["parameter"] == MIB
    assert own["input"] == ROWS_BYTES
    assert any("torch.compile" in note for note in found.trace.assumptions)
    assert found.allocations is not None
    events = found.allocations.events
    state = [event for event in events if event.category is TensorCategory.OPTIMIZER_STATE]
    assert [event.size_bytes for event in state if event.kind.value == "alloc"] == [MIB] * 2
    assert "0" in {origin.module for origin in found.allocations.origins}
    with running(path) as (runner, profile):
        alone = runner.run(profile, step_config({"batch_size": BATCH}))
    assert alone.peak_allocated_bytes == found.trace.peak_allocated_bytes


PAGE = (Path(__file__).parents[2] / "docs" / "steps.md").read_text(encoding="utf-8")
DOCUMENTED = [
    (part.partition("\n")[0], text)
    for part in PAGE.split("\n## ")[1:]
    for text in re.findall(r"^```python\n(.*?)^```", part, re.MULTILINE | re.DOTALL)
]


@pytest.mark.parametrize(("title", "text"), DOCUMENTED, ids=[title for title, _ in DOCUMENTED])
def test_the_examples_of_the_documentation_run(
    write_model: WriteModel, title: str, text: str
) -> None:
    options = {"mode": "infer"} if "inference_step" in title else {}
    found = recorded(write_model(text), batch_from_data="def build_dataset" in text, **options)
    assert found.trace.warnings == ()
    assert categories(found).get("unattributed", 0) == 0


def test_what_a_step_holds_is_as_large_as_the_page_says(write_model: WriteModel) -> None:
    """The logits, in the first example of the page."""
    _, text = DOCUMENTED[0]
    held = recorded(write_model(text, "held.py"))
    let_go = recorded(write_model(text.replace('held["logits"]', "logits"), "let_go.py"))
    logits_bytes = BATCH * 50304 * 4
    assert held.trace.peak_allocated_bytes - let_go.trace.peak_allocated_bytes == logits_bytes


def _missing(*names: str) -> str:
    """The packages of these that are not installed."""
    return ", ".join(name for name in names if importlib.util.find_spec(name) is None)


@pytest.mark.skipif(bool(_missing("lightning")), reason="lightning is not installed")
def test_lightnings_own_module_by_hand(write_model: WriteModel) -> None:
    """Manual optimization, with everything that such a step asks its trainer for."""
    text = """
    import lightning

    class Net(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.automatic_optimization = False
            self.g = nn.Linear(512, 512, bias=False)
            self.d = nn.Linear(512, 512, bias=False)

        def forward(self, x):
            return self.g(x)

        def training_step(self, batch, batch_idx):
            first, second = self.optimizers()
            scheduler = self.lr_schedulers()
            ones = torch.ones(len(batch), 512, device=self.device)
            self.toggle_optimizer(first)
            first.zero_grad()
            loss = (self.d(self(batch)) - ones).square().mean()
            self.manual_backward(loss)
            self.clip_gradients(first, gradient_clip_val=0.5, gradient_clip_algorithm="norm")
            first.step()
            self.untoggle_optimizer(first)
            with second.toggle_model():
                second.zero_grad()
                self.manual_backward(self.d(self(batch).detach()).mean())
                second.step()
            scheduler.step()
            self.log("loss", loss, prog_bar=True)
            self.log_dict({"step": self.global_step, "epoch": self.current_epoch})
            assert self.trainer.is_global_zero and self.logger is not None

        def configure_optimizers(self):
            first = torch.optim.SGD(self.g.parameters(), 0.1, momentum=0.9)
            second = torch.optim.Adam(self.d.parameters())
            return [first, second], [torch.optim.lr_scheduler.StepLR(first, 10)]

    def build_batch(batch_size):
        return torch.randn(batch_size, 512)
    """
    found = recorded(write_model(text) + ":Net")
    assert categories(found)["optimizer state"] == 3 * MIB
    assert found.trace.optimizer == "SGD, Adam"


@pytest.mark.skipif(bool(_missing("lightning")), reason="lightning is not installed")
def test_lightnings_own_module_in_its_loop(write_model: WriteModel) -> None:
    text = LIGHTNING.replace("class LightningModule(nn.Module):\n    automatic_optimization = True",
                             "from lightning import LightningModule")  # fmt: skip
    alike = recorded(write_model(LIGHTNING, "alike.py") + ":Net", precision="amp-fp16")
    found = recorded(write_model(text) + ":Net", precision="amp-fp16")
    assert found.trace.peak_allocated_bytes == alike.trace.peak_allocated_bytes
    assert categories(found) == categories(alike)


@pytest.mark.skipif(bool(_missing("torch_geometric")), reason="torch_geometric is not installed")
def test_graphs_of_torch_geometric(write_model: WriteModel) -> None:
    text = """
    from torch_geometric.data import Batch, Data

    def build_model():
        return nn.Linear(512, 512, bias=False)

    def build_batch(batch_size):
        edges = torch.arange(20).view(2, 10) % 4
        return Batch.from_data_list(
            [Data(x=torch.randn(4, 512), edge_index=edges) for _ in range(batch_size)]
        )

    def training_step(model, graphs):
        assert graphs.num_graphs == 64
        return model(graphs.x[graphs.edge_index[0]]).mean()
    """
    found = recorded(write_model(text))
    nodes = 4 * BATCH
    # x, edges, the graph of each node, and where each graph begins
    assert categories(found)["input"] == (
        4 * ROWS_BYTES + BATCH * 2 * 10 * 8 + nodes * 8 + rounded((BATCH + 1) * 8)
    )
    assert found.trace.warnings == ()


@pytest.mark.skipif(bool(_missing("transformers")), reason="transformers is not installed")
def test_an_encoding_of_transformers(write_model: WriteModel) -> None:
    text = """
    from transformers import BatchEncoding

    def build_model():
        return nn.Embedding(512, 512)

    def build_batch(batch_size):
        return BatchEncoding({"input_ids": torch.ones(batch_size, 64, dtype=torch.int64)})

    def training_step(model, batch):
        return model(batch.input_ids).mean()
    """
    assert categories(recorded(write_model(text)))["input"] == BATCH * 64 * 8 == 32 * KIB
