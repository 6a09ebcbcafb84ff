"""Settings of the allocator as they are given, and what a replay makes of them."""

from __future__ import annotations

import pytest

from planner.config.step import StepConfig
from planner.errors import UsageError
from planner.estimation.alloc_conf import allocator_plan, check_environment, what_ifs
from planner.memory.allocator.options import parse_alloc_conf
from planner.memory.allocator.replay import Request
from planner.memory.scaling import Sample, ScaledRequests, fit
from planner.units import MIB
from planner.wire.trace import EventKind
from planner.wire.variables import ALLOC_CONF_VARIABLES

TORCH = "2.14.1+cu130"


@pytest.fixture(autouse=True)
def _no_settings_here(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ALLOC_CONF_VARIABLES:
        monkeypatch.delenv(name, raising=False)


def test_nothing_given_is_torchs_defaults() -> None:
    plan = allocator_plan((), TORCH)
    assert (plan.text, plan.variable, plan.others) == ("", None, ())
    assert plan.in_force == parse_alloc_conf("", TORCH)


@pytest.mark.parametrize("variable", ALLOC_CONF_VARIABLES)
def test_the_environment_is_in_force(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.setenv(variable, "expandable_segments:True")
    plan = allocator_plan((), TORCH)
    assert (plan.text, plan.variable) == ("expandable_segments:True", variable)
    assert plan.in_force == parse_alloc_conf("expandable_segments:True", TORCH)


def test_what_was_given_comes_before_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ALLOC_CONF_VARIABLES[0], "expandable_segments:True")
    plan = allocator_plan(("max_split_size_mb:64", "roundup_power2_divisions:4"), TORCH)
    assert (plan.text, plan.variable) == ("max_split_size_mb:64", None)
    assert [text for text, _ in plan.others] == ["", "roundup_power2_divisions:4"]


def test_the_same_setting_twice_is_one() -> None:
    plan = allocator_plan(("max_split_size_mb:64", "max_split_size_mb:64"), TORCH)
    assert [text for text, _ in plan.others] == [""]


@pytest.mark.parametrize("variable", ALLOC_CONF_VARIABLES)
@pytest.mark.parametrize("text", ["garbage", "no_such_option:1", "max_split_size_mb:1", "a:[", ":"])
def test_an_environment_that_torch_will_refuse_is_refused_as_the_option_is(
    monkeypatch: pytest.MonkeyPatch, variable: str, text: str
) -> None:
    with pytest.raises(UsageError) as of_option:
        allocator_plan((text,), TORCH)
    monkeypatch.setenv(variable, text)
    with pytest.raises(UsageError) as caught:
        allocator_plan((), TORCH)
    assert str(caught.value) == (
        f"{variable}={text!r} in the environment: {of_option.value}; correct it or unset {variable}"
    )
    with pytest.raises(UsageError, match=f"^{variable}="):
        check_environment(StepConfig(), TORCH)
    check_environment(StepConfig(alloc_conf="expandable_segments:True"), TORCH)


def test_an_option_that_a_newer_torch_may_have_is_left_to_torch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(ALLOC_CONF_VARIABLES[0], "an_option_of_tomorrow:1")
    assert allocator_plan((), "99.0.0").in_force is None
    check_environment(StepConfig(), "99.0.0")
    with pytest.raises(UsageError, match="has no allocator option"):
        check_environment(StepConfig(), TORCH)


def test_the_drivers_pools_have_no_replay() -> None:
    assert allocator_plan(("backend:cudaMallocAsync",), TORCH).in_force is None
    with pytest.raises(UsageError, match="cannot be compared by a replay"):
        allocator_plan(("max_split_size_mb:64", "backend:cudaMallocAsync"), TORCH)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("no_such_option:1", "has no allocator option 'no_such_option'"),
        ("large_segment_size_mb:33,expandable_segments:True", "contradicts expandable_segments"),
    ],
)
def test_what_torch_refuses_is_refused_before_anything_runs(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        allocator_plan((text,), TORCH)


def program(batch: int) -> list[Request]:
    """Three tensors below 10 MiB share segments: of 20 MiB, or of what the setting says."""
    return [Request(EventKind.ALLOC, n, (3 + batch) * MIB) for n in range(3)]


def test_the_same_requests_under_each_setting() -> None:
    scaled = fit([Sample(value=n, requests=tuple(program(n))) for n in (1, 2)])
    assert isinstance(scaled, ScaledRequests)
    settings = [(t, parse_alloc_conf(t, TORCH)) for t in ("", "large_segment_size_mb:64")]
    default, larger = what_ifs(
        settings, program(1), scaled, capacity_bytes=30 * MIB, total_memory_bytes=30 * MIB
    )
    assert default.alloc_conf is None
    assert (default.fits, default.peak_reserved_bytes) == (True, 20 * MIB)
    # 3 x 6 MiB share 20 MiB. Of 3 x 10 MiB each would have a segment of its own, and all fit; but
    # batches between need two segments of 20 MiB, so that 7 would promise too much.
    assert default.max_batch_size == 3
    assert larger.alloc_conf == "large_segment_size_mb:64"
    assert (larger.fits, larger.peak_reserved_bytes) == (False, 64 * MIB)


def test_without_a_rule_there_is_no_largest_batch() -> None:
    settings = [("", parse_alloc_conf("", TORCH))]
    (found,) = what_ifs(
        settings, program(1), None, capacity_bytes=30 * MIB, total_memory_bytes=30 * MIB
    )
    assert found.max_batch_size is None
    assert found.fits
