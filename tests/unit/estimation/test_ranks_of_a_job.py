"""The rank with the highest peak, and the refusal of more GPUs than a host has."""

from __future__ import annotations

import pytest

from planner.config.parse import step_config
from planner.errors import UsageError
from planner.estimation.ranks import check_host


@pytest.mark.parametrize(
    ("gpus", "hosts", "has", "said"),
    [
        (8, 1, 4, "add --num-hosts 2"),
        (24, 3, 4, "add --num-hosts 6"),
        (2, 1, 1, "add --num-hosts 2"),
    ],
)
def test_more_gpus_than_the_host_has_are_refused(
    gpus: int, hosts: int, has: int, said: str
) -> None:
    parallel = step_config({"num_gpus": gpus, "num_hosts": hosts, "parallel": "fsdp"}).parallel
    with pytest.raises(UsageError) as raised:
        check_host(parallel, (("t4", has),))
    assert said in str(raised.value)
    assert f"the host has {has}" in str(raised.value)


def test_as_many_as_the_host_has_are_taken() -> None:
    parallel = step_config({"num_gpus": 16, "num_hosts": 2, "parallel": "fsdp"}).parallel
    check_host(parallel, (("a100", 8),))
    check_host(parallel, ())
    check_host(None, (("a100", 1),))
