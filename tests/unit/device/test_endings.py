"""How a run ended, in words."""

from __future__ import annotations

import pytest

from planner.device.endings import death
from planner.protocol import RunEnded


@pytest.mark.parametrize(
    ("code", "hinted"),
    [(127, True), (1, False)],
    ids=["undefined symbol", "sys.exit"],
)
def test_a_function_that_is_missing_at_its_first_call_is_a_hint(code: int, hinted: bool) -> None:
    said = death(RunEnded(number=1, exit_code=code), "the run with batch 4")
    assert said.startswith("the run with batch 4 ended before it had a result: ")
    assert f"exit code {code}" in said
    assert ('"symbol lookup error"' in said) is hinted
