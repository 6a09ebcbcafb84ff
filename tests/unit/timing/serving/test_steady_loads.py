"""Loads in their steady state, with steps whose times are simple."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest

from planner.timing.serving.host_terms import HostTerms, SpeedErrors, speed_terms
from planner.timing.serving.steady import Demand, Holding, first_token_s, steady_load
from planner.timing.serving.step import ServedStep, StepTime

STEP_S, TOKEN_S = 10e-3, 1e-5


@dataclass
class SimpleSteps:
    """A step takes 10 ms, and 10 us for each token of a prompt."""

    host: HostTerms = field(default=HostTerms(step_s=0.0, request_s=0.0, layer_s=0.0, first_s=5e-3))

    def time(self, step: ServedStep) -> StepTime:
        rows = 0 if step.prompts is None else step.prompts.rows
        return StepTime(
            products_s=STEP_S + TOKEN_S * rows, attention_s=0.0, others_s=0.0, messages_s=0.0,
            host_s=0.0, spread=0.1,
        )  # fmt: skip


STEPS = SimpleSteps()
HOLDING = Holding(step_tokens=2048, requests=256)


def test_one_user_waits_for_nobody() -> None:
    found = steady_load(STEPS, Demand(users=1, prompt=1000, output=101), HOLDING)  # type: ignore[arg-type]
    # 100 steps of 10 ms, one of which has the prompt of 10 ms; first: half a step, then 20 ms.
    assert found.tpot_s == pytest.approx(10.1e-3, rel=0.02)
    assert found.alone_ttft_s == pytest.approx(5e-3 + 20e-3)
    assert found.ttft_s == pytest.approx(5e-3 + 5e-3 + 20e-3, rel=0.02)
    assert found.requests_per_s == pytest.approx(1 / (0.025 + 1.01), rel=0.03)
    assert not found.is_waiting


def test_users_are_those_who_write_and_those_who_wait() -> None:
    found = steady_load(STEPS, Demand(users=50, prompt=1000, output=101), HOLDING)  # type: ignore[arg-type]
    waiting = found.requests_per_s * (found.ttft_s - STEPS.host.first_s)
    assert found.writing + waiting == pytest.approx(50, rel=0.01)  # Little's law
    assert found.requests_per_s * 100 * found.tpot_s == pytest.approx(found.writing, rel=0.01)
    # In a second: each request costs its prompt of 10 ms; all other time is steps of 10 ms.
    assert found.tpot_s == pytest.approx(STEP_S + found.writing / 100 * 10e-3, rel=0.02)


def test_more_users_are_slower_each_and_faster_together() -> None:
    found = [
        steady_load(STEPS, Demand(users=n, prompt=1000, output=101), HOLDING)  # type: ignore[arg-type]
        for n in (1, 4, 16, 64, 150)
    ]
    assert [one.tpot_s for one in found] == sorted(one.tpot_s for one in found)
    assert [one.ttft_s for one in found] == sorted(one.ttft_s for one in found)
    assert [one.requests_per_s for one in found] == sorted(one.requests_per_s for one in found)


def test_what_has_no_place_waits() -> None:
    held = Holding(step_tokens=2048, requests=10)
    few = steady_load(STEPS, Demand(users=10, prompt=100, output=101), held)  # type: ignore[arg-type]
    many = steady_load(STEPS, Demand(users=40, prompt=100, output=101), held)  # type: ignore[arg-type]
    assert not few.is_waiting
    assert many.is_waiting
    assert many.writing == pytest.approx(10, rel=0.01)
    assert many.requests_per_s == pytest.approx(few.requests_per_s, rel=0.05)
    assert many.ttft_s > 30 / many.requests_per_s


def test_prompts_fill_a_step_before_all_can_write() -> None:
    """Of 2048 tokens a writer with a prompt of 1000 for 10 tokens takes 1 + 1000 / 9."""
    found = steady_load(STEPS, Demand(users=200, prompt=1000, output=10), HOLDING)  # type: ignore[arg-type]
    assert found.writing == pytest.approx(2048 / (1 + 1000 / 9), rel=0.05)
    assert found.is_waiting
    assert found.prompt_steps == 1.0


def test_a_long_prompt_is_read_in_chunks() -> None:
    found = first_token_s(STEPS, 5000, 2048)  # type: ignore[arg-type]
    assert found == pytest.approx(5e-3 + 3 * STEP_S + 5000 * TOKEN_S)


def test_the_last_of_all_at_once_waits_for_all_prompts() -> None:
    found = steady_load(STEPS, Demand(users=50, prompt=1024, output=101), HOLDING)  # type: ignore[arg-type]
    assert found.last_ttft_s == pytest.approx(5e-3 + 25 * (STEP_S + 2048 * TOKEN_S), rel=0.01)


def test_answers_of_one_token_are_prompts_alone() -> None:
    found = steady_load(STEPS, Demand(users=64, prompt=512, output=1), HOLDING)  # type: ignore[arg-type]
    assert found.requests_per_s == pytest.approx(4 / (STEP_S + 2048 * TOKEN_S))
    assert found.tpot_s == 0
    one = steady_load(STEPS, Demand(users=1, prompt=512, output=1), HOLDING)  # type: ignore[arg-type]
    assert one.ttft_s == pytest.approx(5e-3 + STEP_S + 512 * TOKEN_S, rel=0.5)


def test_the_host_of_a_request_is_in_its_first_token() -> None:
    slow = replace(STEPS, host=replace(STEPS.host, first_s=1.0))
    assert first_token_s(slow, 10, 2048) > 1.0  # type: ignore[arg-type]


def test_nine_of_ten_published_loads_are_inside() -> None:
    errors = SpeedErrors(ratios=tuple(float(n) for n in range(1, 101)), sources=9)
    assert errors.bounds() == (5.0, 96.0)
    assert SpeedErrors(ratios=(0.8, 1.0, 1.3), sources=2).bounds() == (0.8, 1.3)


def test_the_shipped_terms() -> None:
    for name, terms in speed_terms().items():
        assert 0 <= terms.host.step_s <= 2e-3, name
        low, high = terms.tokens.bounds()
        assert low < 1 < high, name
        assert terms.tokens.sources >= 3, name
