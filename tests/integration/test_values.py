"""Steps that read values of the card: true where all is known, drawn and said where not."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import pytest

import planner
from planner.config.parse import step_config
from planner.config.target import parse_target
from planner.errors import ChildTimeoutError
from planner.results.estimate import Estimate
from planner.wire.trace import RunOutcome, StepTrace
from planner.wire.value_reads import Decision, ValuesState, values_state
from tests.integration.child_runs import WriteModel, running

PROGRAMS = str(Path(__file__).parent / "programs_that_read.py")
ROUTED = """
    class Experts(nn.Module):
        def __init__(self):
            super().__init__()
            self.router = nn.Linear(64, 4, bias=False)
            self.experts = nn.ModuleList(nn.Linear(64, 64) for _ in range(4))

        def forward(self, x):
            x = x.flatten(0, 1)
            weights, chosen = self.router(x).softmax(-1).topk(2, dim=-1)
            out = torch.zeros_like(x)
            for number, expert in enumerate(self.experts):
                token, place = torch.where(chosen == number)
                out.index_add_(0, token, expert(x[token]) * weights[token, place, None])
            return out

    def build_model():
        return Experts()

    def build_batch(batch_size):
        return torch.randn(batch_size, 1024, 64)
"""
ROUTED_LINE = 15  # of `torch.where`, in the file with its two imports


def estimate(path: str, **options: Any) -> Estimate:
    return planner.estimate(path, gpu="a100", **{"max_batch": False, **options})


def test_programs_read_what_the_cpu_gives(write_model: WriteModel) -> None:
    """Hundreds of small programs; in both passes, as a wrong reading raises in either."""
    target = parse_target(PROGRAMS, (("first", 0), ("count", 250)))
    with running(target) as (runner, profile):
        trace = runner.run(profile, step_config({"batch_size": 4, "steps": 1}))
    assert trace.failure is None, trace.failure
    assert trace.outcome is RunOutcome.COMPLETED
    assert values_state(trace.value_reads) is ValuesState.KNOWN
    assert not trace.parted_reads
    assert sum(read.count for read in trace.value_reads) > 1000


def test_a_step_that_reads_nothing_is_run_once(write_model: WriteModel) -> None:
    path = write_model(
        """
        def build_model():
            return nn.Linear(8, 8)

        def build_batch(batch_size):
            return torch.randn(batch_size, 8)
        """
    )
    with running(path) as (runner, profile):
        trace = runner.run(profile, step_config({}))
        assert not runner._values.reading
        assert not runner._values._logs
    assert not trace.value_reads
    found = estimate(path)
    assert found.values.state is ValuesState.NONE_READ
    assert not found.warnings


def test_routing_is_that_of_an_untrained_net(write_model: WriteModel) -> None:
    path = write_model(ROUTED)
    found = estimate(path, batch_size=4)
    (read,) = found.values.reads
    assert (read.line, read.operator) == (ROUTED_LINE, "aten::nonzero")
    assert read.count == read.assumed == 3 * 4  # steps and experts
    assert read.decision is Decision.SIZE
    assert read.bounds == (0, 2 * 4 * 1024)
    assert read.smallest is not None
    assert read.largest is not None
    # 8192 places over 4 experts: 2048 each, with a deviation of 36 or so.
    assert 1850 < read.smallest < 2048 < read.largest < 2250
    (warning,) = found.warnings
    assert f"user_model.py:{ROUTED_LINE} in forward, 12 times (aten::nonzero, " in warning
    assert "where 0 to 8192 are possible" in warning
    assert found.values.seeds == (0, 1, 2, 3)
    document = found.to_dict()["values"]
    assert document["state"] == "assumed"
    assert document["decides_sizes"] is True
    # An expert saves its rows, its result and the product with the weights; the router its input.
    breakdown = found.breakdown()
    assert breakdown is not None
    saved = breakdown.by_category()["saved activation"]
    rows = 2 * 4096 * 64 * 4
    assert 3 * rows < saved < 4.3 * rows


def test_the_worst_case_sends_every_token_to_the_first_experts(write_model: WriteModel) -> None:
    path = write_model(ROUTED)
    found = estimate(path, batch_size=4, data_dependent="most")
    (read,) = found.values.reads
    assert (read.smallest, read.largest) == (0, 4096)
    assert found.values.seeds == ()
    (warning,) = found.warnings
    assert "taken at their most" in warning
    assert "--data-dependent" not in warning


def test_a_place_can_be_given_its_size(write_model: WriteModel) -> None:
    path = write_model(ROUTED)
    found = estimate(path, batch_size=4, size_at={f"user_model.py:{ROUTED_LINE}": 100})
    (read,) = found.values.reads
    assert (read.smallest, read.largest, read.is_fixed) == (100, 100, True)
    assert not found.values.are_decided
    assert not found.warnings


def test_values_that_are_easily_missed(write_model: WriteModel) -> None:
    """Inference, subclasses, lists in place, running statistics, NaN as a mark, infinities."""
    path = write_model(
        """
        class Kind(torch.Tensor):
            pass

        def build_model():
            return nn.BatchNorm1d(8)

        def build_batch(batch_size):
            marked = torch.zeros(batch_size, 8, 100)
            marked[:, :6] = float("nan")
            return torch.randn(batch_size, 8), marked

        def training_step(model, batch):
            x, marked = batch
            device = x.device
            with torch.inference_mode():
                assert torch.arange(4).to(device).tolist() == [0, 1, 2, 3]
            counts = torch.zeros(4, dtype=torch.long, device=device)
            counts.as_subclass(Kind).add_(3)
            assert counts.tolist() == [3, 3, 3, 3]
            steps = [torch.zeros(1, device=device) for _ in range(3)]
            torch._foreach_add_(steps, 1)
            assert steps[0].item() == 1
            assert (~torch.isnan(marked)).sum().item() == 2 * 100 * x.shape[0]
            scores = (x @ x.T).masked_fill(torch.eye(x.shape[0], device=device) > 0, -torch.inf)
            loss = model(x).mean()
            torch.isfinite(scores).sum().item()
            model.running_mean.tolist()
            return loss
        """
    )
    found = estimate(path, batch_size=16)
    drawn = {read.line for read in found.values.reads if read.assumed}
    assert drawn == {30}  # the statistics alone, to which weights of the card have led


def test_a_size_that_cannot_be_is_an_error(write_model: WriteModel) -> None:
    path = write_model(ROUTED)
    with pytest.raises(planner.PlannerError, match=r"100000 was given .* has 8192 elements"):
        estimate(path, batch_size=4, size_at=f"user_model.py:{ROUTED_LINE}=100000")


def test_a_largest_batch_by_drawn_sizes_is_not_confirmed(write_model: WriteModel) -> None:
    found = estimate(write_model(ROUTED), batch_size=4, max_batch=True, gpu_memory="3GiB")
    assert found.max_batch_size
    assert found.gpus[0].max_batch_confirmed is False


def test_known_values_steer_and_stay_confirmed(write_model: WriteModel) -> None:
    """Lengths that the host sent: packed rows, as many as they say."""
    path = write_model(
        """
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.table, self.out = nn.Embedding(100, 256), nn.Linear(256, 256)

            def forward(self, ids, lengths):
                mask = torch.arange(ids.shape[1], device=ids.device) < lengths[:, None]
                rows = self.table(ids)[mask]
                assert rows.shape[0] == int(lengths.sum())
                return self.out(rows).mean()

        def build_model():
            return Net()

        def build_batch(batch_size):
            lengths = torch.arange(1, batch_size + 1) * 8
            return torch.zeros(batch_size, 512, dtype=torch.long), lengths
        """
    )
    found = estimate(path, batch_size=16)
    assert found.values.state is ValuesState.KNOWN
    sizes = [read.largest for read in found.values.reads if read.operator == "aten::index"]
    assert sizes == [8 * 16 * 17 // 2]
    assert not found.warnings
    assert not [text for text in found.assumptions if "drawn" in text]


def test_a_loss_that_is_read_is_finite_and_above_zero(write_model: WriteModel) -> None:
    path = write_model(
        """
        import math

        def build_model():
            return nn.Linear(64, 64)

        def build_batch(batch_size):
            return torch.randn(batch_size, 64)

        def training_step(model, batch):
            loss = (model(batch) ** 2).mean()
            value = loss.item()
            assert 0 < value < math.inf, value
            assert value == loss.item() == float(loss.detach().cpu())
            assert torch.isfinite(loss) and not torch.isnan(loss)
            return loss
        """
    )
    found = estimate(path)
    assert found.values.state is ValuesState.ASSUMED
    assert not found.values.are_decided
    assert not found.warnings
    (text,) = [text for text in found.assumptions if "drawn at random" in text]
    assert re.search(r"user_model.py:\d+ in training_step, 3 times", text)


def test_gradient_scaling_skips_no_step_and_reads_its_true_scale(write_model: WriteModel) -> None:
    path = write_model(
        """
        def build_model():
            return nn.Linear(64, 64)

        def build_batch(batch_size):
            return torch.randn(batch_size, 64)
        """
    )
    found = estimate(path, precision="amp-fp16")
    assert found.values.state is ValuesState.NONE_READ  # found_inf is 0, and no value is needed
    breakdown = found.breakdown()
    assert breakdown is not None
    assert breakdown.by_category()["optimizer state"] >= 2 * 64 * 64 * 4


def test_an_endless_loop_is_named_while_it_lasts_and_at_the_end(write_model: WriteModel) -> None:
    path = write_model(
        """
        def build_model():
            return nn.Linear(8, 8)

        def build_batch(batch_size):
            return torch.randn(batch_size, 8)

        def training_step(model, batch):
            done = torch.zeros(4, dtype=torch.bool, device=batch.device)
            while not done.all():
                pass
            return model(batch).mean()
        """
    )
    said: list[str] = []
    begun = time.monotonic()
    with pytest.raises(ChildTimeoutError) as caught:
        estimate(path, timeout_s=30, on_progress=said.append)
    assert time.monotonic() - begun < 120
    assert "times at" in str(caught.value)
    assert "user_model.py:12 in training_step" in str(caught.value)
    assert "allow more with --timeout, or look" not in str(caught.value)
    assert any("user_model.py:12" in text for text in said)


def test_a_bounded_loop_runs_to_its_end(write_model: WriteModel) -> None:
    path = write_model(
        """
        def build_model():
            return nn.Linear(8, 8)

        def build_batch(batch_size):
            return torch.randn(batch_size, 8)

        def training_step(model, batch):
            unfinished = torch.ones(4, dtype=torch.long, device=batch.device)
            steps = 0
            while unfinished.max() != 0:
                steps += 1
                unfinished = unfinished & ~torch.full((4,), steps >= 256, device=batch.device)
            assert steps == 256
            return model(batch).mean()
        """
    )
    found = estimate(path)
    assert found.values.state is ValuesState.KNOWN
    assert sum(read.count for read in found.values.reads) == 3 * 257


def test_code_that_uses_the_card_while_it_is_imported(write_model: WriteModel) -> None:
    path = write_model(
        """
        LENGTHS = torch.tensor([3, 4], device="cuda")

        def build_model():
            return nn.Linear(8, 8)

        def build_batch(batch_size):
            return torch.randn(batch_size, 8)

        def training_step(model, batch):
            assert LENGTHS.tolist() == [3, 4]
            return model(batch).mean()
        """
    )
    found = estimate(path)
    assert found.values.state is ValuesState.KNOWN
    assert found.step is not None  # the counted run has its values too


def test_a_large_mask_that_was_made_of_numbers_is_known(write_model: WriteModel) -> None:
    """Indices drawn on the host, scattered into zeros: as sparse adapters make their masks."""
    path = write_model(
        """
        def build_model():
            return nn.Linear(8, 8)

        def build_batch(batch_size):
            return torch.randn(batch_size, 8)

        def training_step(model, batch):
            places = torch.randperm(512 * 512)[:1000].to(batch.device)
            chosen = torch.ones(1000, dtype=torch.bool).to(batch.device)
            mask = torch.zeros(512 * 512).to(chosen).scatter_(0, places, chosen)
            rows, columns = torch.where(mask.view(512, 512))
            assert len(rows) == len(columns) == 1000
            spread = model(batch).sum().expand(1000).masked_scatter(mask[:1000], batch.view(-1))
            return spread.sum()
        """
    )
    found = estimate(path)
    assert found.values.state is ValuesState.KNOWN


def test_lengths_of_a_ctc_loss_are_known_in_each_pass(write_model: WriteModel) -> None:
    path = write_model(
        """
        def build_model():
            return nn.Linear(16, 32)

        def build_batch(batch_size):
            return torch.zeros(batch_size, 50, 16), torch.ones(batch_size, 8, dtype=torch.int64)

        def training_step(model, batch):
            sounds, labels = batch
            mask = labels > 0
            scores = model(sounds).log_softmax(-1).transpose(0, 1)
            frames = torch.full((len(labels),), 50, device=labels.device)
            with torch.backends.cudnn.flags(enabled=False):
                return nn.functional.ctc_loss(
                    scores, labels.masked_select(mask), frames, mask.sum(-1)
                )
        """
    )
    found = estimate(path)
    assert found.values.state is ValuesState.KNOWN
    assert not found.values.parted


def test_the_streams_of_the_user_do_not_move(write_model: WriteModel) -> None:
    path = write_model(
        """
        def build_model():
            return nn.Linear(8, 8)

        def build_batch(batch_size):
            return torch.randn(batch_size, 8)

        def training_step(model, batch):
            torch.manual_seed(5)
            wanted = torch.rand(3).tolist()
            torch.manual_seed(5)
            noise = torch.rand(100, device=batch.device)
            kept = (noise > 0.5).nonzero()
            order = torch.randperm(10, device=batch.device)
            assert sorted(order.tolist()) == list(range(10))
            assert torch.rand(3).tolist() == wanted
            return model(batch).mean() + 0 * kept.sum()
        """
    )
    assert estimate(path).values.state is ValuesState.ASSUMED


def test_a_pass_that_reads_otherwise_is_reported(write_model: WriteModel, tmp_path: Path) -> None:
    """The model's code keeps count in a file: the second pass has other reads than the first."""
    path = write_model(
        f"""
        import pathlib
        COUNT = pathlib.Path({str(tmp_path)!r}) / "count"

        def build_model():
            return nn.Linear(8, 8)

        def build_batch(batch_size):
            return torch.randn(batch_size, 8)

        def training_step(model, batch):
            times = int(COUNT.read_text()) if COUNT.exists() else 1
            COUNT.write_text(str(times + 1))
            for _ in range(times):
                torch.ones(3, device=batch.device).sum().item()
            return model(batch).mean()
        """
    )
    found = estimate(path)
    assert found.values.parted
    assert any("read other values than the run that computed them" in w for w in found.warnings)


def test_parameters_without_a_gradient_are_named_with_their_share(write_model: WriteModel) -> None:
    path = write_model(
        """
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.used = nn.Linear(10, 30, bias=False)
                self.unused = nn.Linear(10, 10, bias=False)

            def forward(self, x):
                return self.used(x)

        def build_model():
            return Net()

        def build_batch(batch_size):
            return torch.randn(batch_size, 10)
        """
    )
    (warning,) = estimate(path).warnings
    assert warning.startswith("25 % of the trainable parameters (100 of 400) got no gradient")
    assert "unused.weight" in warning


def test_inspect_and_curve_say_how_far_they_rest_on_values(write_model: WriteModel) -> None:
    path = write_model(ROUTED)
    inspected = planner.inspect(path, batch_size=2)
    assert inspected.values.are_decided
    assert inspected.warnings
    # Two of four experts for each token: twice a linear layer, and the router.
    forward = 2 * 1024 * (2 * 64 * 64 + 64 * 4)
    assert inspected.model.step.forward_flops_per_sample == pytest.approx(forward, rel=0.01)
    drawn = planner.curve(path, gpu="a100", batches=[2, 4], gpu_memory="4GiB")
    assert drawn.values.are_decided
    assert drawn.to_dict()["values"]["decides_sizes"] is True


def test_memory_is_the_same_whether_a_loss_is_read(write_model: WriteModel) -> None:
    """The measured run has no dispatch mode in it: reserved does not move by a byte."""
    text = """
        def build_model():
            return nn.Sequential(nn.Linear(512, 2048), nn.GELU(), nn.Linear(2048, 512))

        def build_batch(batch_size):
            return torch.randn(batch_size, 512)

        def training_step(model, batch):
            loss = model(batch).square().mean()
            {read}
            return loss
        """
    plain, reading = (
        _trace(write_model(text.format(read=read), name=f"{name}.py"))
        for name, read in (("plain", "pass"), ("reading", "loss.item()"))
    )
    assert plain.peak_allocated_bytes == reading.peak_allocated_bytes
    assert plain.peak_reserved_bytes == reading.peak_reserved_bytes
    assert (len(plain.value_reads), len(reading.value_reads)) == (0, 1)


def _trace(path: str) -> StepTrace:
    with running(path) as (runner, profile):
        return runner.run(profile, step_config({"batch_size": 64}))


def test_nothing_is_left_behind(
    write_model: WriteModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr("tempfile.tempdir", None)  # it is looked up anew
    estimate(write_model(ROUTED))
    assert list(folder.iterdir()) == []


@pytest.mark.slow
def test_what_a_triton_kernel_may_have_written_is_not_known_any_more(
    write_model: WriteModel,
) -> None:
    pytest.importorskip("triton")
    path = write_model(
        """
        import triton
        import triton.language as tl

        @triton.jit
        def doubled(x, size, BLOCK: tl.constexpr):
            place = tl.arange(0, BLOCK)
            tl.store(x + place, 2 * tl.load(x + place, mask=place < size), mask=place < size)

        def build_model():
            return nn.Linear(8, 8)

        def build_batch(batch_size):
            return torch.randn(batch_size, 8)

        def training_step(model, batch):
            counts = torch.ones(16, dtype=torch.int32, device=batch.device)
            assert counts.sum().item() == 16
            doubled[(1,)](counts, 16, BLOCK=16)
            counts.sum().item()
            return model(batch).mean()
        """
    )
    found = estimate(path)
    known, drawn = found.values.reads
    assert (known.assumed, drawn.assumed) == (0, 3)
