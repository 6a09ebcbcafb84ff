"""The links of a job: its topology, NCCL's memory and the times of messages."""

from __future__ import annotations

import pytest

from planner.config.parse import step_config
from planner.errors import UnknownLinkError
from planner.estimation.network import Network, network_of, with_known_links
from planner.hardware.database import load_gpus, load_hosts
from planner.hardware.link_specs import Collective
from planner.memory.budget import memory_budgets
from planner.memory.communicators import Communicator, communicator_memory
from planner.timing.collectives import collective_time
from planner.timing.topology import RankGroup
from planner.wire.communication import CollectiveRecord
from planner.wire.communicators import CommunicatorUse
from planner.wire.trace import Phase

H100 = load_gpus().find("h100").spec
A100 = load_gpus().find("a100").spec


def network(words: str, host: str | None = None, **options: int) -> Network:
    """What joins the GPUs of a job."""
    parallel = step_config({"parallel": words, **options}).parallel
    machine = None if host is None else load_hosts().find(host).spec
    found = network_of(parallel, machine, None)
    assert found is not None
    return found


def test_a_job_on_one_gpu_has_no_network() -> None:
    assert network_of(None, None, None) is None


def test_cards_of_a_host_are_joined_as_usual_for_them() -> None:
    found = network("fsdp=8").topology(H100)
    assert (found.cards_per_host, found.hosts) == (8, 1)
    assert found.intra.id == "nvswitch-4"
    assert found.inter is None
    assert "assuming NVLink 4 with NVSwitch between the cards" in found.assumptions


@pytest.mark.parametrize(
    ("card", "link"), [(H100, "infiniband-ndr"), (A100, "infiniband-hdr")], ids=["h100", "a100"]
)
def test_hosts_are_joined_as_usual_where_none_is_named(card: object, link: str) -> None:
    found = network("fsdp=16").topology(card)  # type: ignore[arg-type] # a GpuSpec
    assert found.inter is not None
    assert found.inter.id == link
    assert found.network_bytes_per_s == 8 * found.inter.wire_bytes_per_s
    assert any(found.inter.name in said and "--host" in said for said in found.assumptions)


def test_a_named_host_says_its_links() -> None:
    found = network("fsdp=16", host="aws-p5-48xlarge").topology(H100)
    assert found.inter is not None
    assert found.inter.kind.value == "efa"
    assert not [said for said in found.assumptions if "--host" in said]


def test_a_part_of_a_hosts_cards_has_a_topology_of_its_own() -> None:
    found = network("fsdp=4", host="aws-p5-48xlarge").topology(H100)
    assert (found.cards_per_host, found.hosts) == (4, 1)


def test_the_memory_of_nccl_is_that_of_its_groups() -> None:
    used = (
        CommunicatorUse(group="", ranks=8, hosts=1, sends_to_peers=False),
        CommunicatorUse(group="tp", ranks=2, hosts=1, sends_to_peers=True),
        CommunicatorUse(group="alone", ranks=1, hosts=1, sends_to_peers=False),
    )
    job = network("fsdp=4,tp=2")
    link = job.topology(H100).intra
    expected = communicator_memory(
        [
            Communicator(name="all ranks", cards_by_host=(8,), link=link),
            Communicator(name="tp", cards_by_host=(2,), link=link, peers=1),
        ]
    )
    found = job.memory(H100, used)
    assert (found.low_bytes, found.high_bytes) == (expected.low_bytes, expected.high_bytes)
    assert 0 < found.low_bytes < found.high_bytes


def test_a_message_takes_the_time_of_its_collective() -> None:
    record = CollectiveRecord(
        collective=Collective.ALL_GATHER, group="", ranks=8, hosts=1, phase=Phase.FORWARD,
        size_bytes=1 << 28, calls=3,
    )  # fmt: skip
    job = network("fsdp=8")
    one_s = collective_time(
        Collective.ALL_GATHER, 1 << 28, RankGroup(cards_by_host=(8,)), job.topology(H100)
    ).time_s
    found = job.times(H100, [record], {Phase.FORWARD: 10 * one_s}, 2)
    assert found.total_s == pytest.approx(6 * one_s)
    assert found.exposed_s == pytest.approx(2 * one_s)  # the first one of each micro-batch


def test_ranks_that_hosts_do_not_share_equally_are_placed() -> None:
    record = CollectiveRecord(
        collective=Collective.ALL_REDUCE, group="", ranks=3, hosts=2, phase=Phase.BACKWARD,
        size_bytes=1 << 20, calls=1,
    )  # fmt: skip
    assert network("ddp=16").times(H100, [record], {}, 1).total_s > 0


def test_a_card_without_a_known_link_is_left_out_of_several() -> None:
    found, other = memory_budgets(
        ["h100", "gh200-96gb"], hardware_db=None, gpu_memory=None, reserve=0
    )
    job = network("ddp=2")
    assert with_known_links(job, (found,)) == ((found,), ())
    assert with_known_links(None, (found, other)) == ((found, other), ())
    kept, (warning,) = with_known_links(job, (found, other))
    assert kept == (found,)
    assert warning.startswith("gh200-96gb is left out: no link")
    with pytest.raises(UnknownLinkError):
        with_known_links(job, (other,))
