"""Requests of schedulers: the text is read back as the scheduler reads it."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
import yaml

from planner.errors import UsageError
from planner.hardware.database import load_gpus
from planner.hardware.market_names import GPUHUNT_NAMES, SKYPILOT_NAMES
from planner.render.exports.formats import RequestFormat
from planner.render.exports.needs import job_needs, upper_bytes
from planner.render.exports.requests import node_label, resource_request
from planner.results.device_estimate import DeviceEstimate
from planner.results.estimate import Estimate
from planner.units import GIB, MIB

YAML = (RequestFormat.SKY, RequestFormat.DSTACK, RequestFormat.K8S, RequestFormat.HAMI)


@pytest.fixture
def fitting(estimate: Estimate, a100: DeviceEstimate) -> Estimate:
    """A step on one card, which takes 20.0 to 24.0 GiB of it, on a host that is known."""
    card = replace(
        a100,
        fits=True,
        name="NVIDIA A100-SXM4-40GB",
        id="a100-sxm4-40gb",
        device_total_interval_bytes=(20 * GIB, 24 * GIB),
    )
    return replace(estimate, gpus=(card,), warnings=())


def with_host(estimate: Estimate, **changes: Any) -> Estimate:
    """The same with other needs of the host; names of HostRam go there."""
    card = estimate.gpus[0]
    assert card.host is not None
    ram = {
        name: changes.pop(name)
        for name in [*changes]
        if name.endswith("bytes") and name[0] in "wpds"
    }
    host = replace(card.host, **changes)
    return replace(
        estimate, gpus=(replace(card, host=replace(host, ram=replace(host.ram, **ram))),)
    )


def read(estimate: Estimate, scheduler: RequestFormat) -> Any:
    return yaml.safe_load(resource_request(estimate, scheduler))


def container(estimate: Estimate, scheduler: RequestFormat) -> dict[str, Any]:
    found: dict[str, Any] = read(estimate, scheduler)["spec"]["containers"][0]["resources"]
    return found


def test_the_upper_end_and_what_is_kept_free_are_requested(fitting: Estimate) -> None:
    kept = replace(fitting.gpus[0], reserve_bytes=GIB)
    estimate = replace(fitting, gpus=(kept,))
    limits = container(estimate, RequestFormat.HAMI)["limits"]
    assert limits == {
        "nvidia.com/gpu": 1,
        "nvidia.com/gpumem": 25 * 1024,
        "memory": limits["memory"],
    }


def test_without_an_interval_the_prediction_is_requested(fitting: Estimate) -> None:
    card = replace(fitting.gpus[0], device_total_interval_bytes=None, reserve_bytes=0)
    limits = container(replace(fitting, gpus=(card,)), RequestFormat.HAMI)["limits"]
    assert limits["nvidia.com/gpumem"] == -(-card.device_total_bytes // MIB)


def test_no_more_than_the_card_has_is_requested(fitting: Estimate) -> None:
    card = replace(fitting.gpus[0], device_total_interval_bytes=(20 * GIB, 90 * GIB))
    assert upper_bytes(card) == card.total_memory_bytes
    assert "tight" in resource_request(replace(fitting, gpus=(card,)), RequestFormat.HAMI)


def test_sky(fitting: Estimate) -> None:
    estimate = with_host(fitting, workers=4, cores_needed=None)
    needs = job_needs(estimate)
    assert read(estimate, RequestFormat.SKY) == {
        "resources": {"accelerators": "A100:1", "cpus": "5+", "memory": f"{needs.ram_gib}+"}
    }


def test_dstack(fitting: Estimate) -> None:
    estimate = with_host(fitting, workers=2, shm_peak_bytes=80 * MIB, cores_needed=None)
    assert read(estimate, RequestFormat.DSTACK) == {
        "resources": {
            "gpu": {"name": ["A100"], "memory": "40GB..", "count": 1},
            "cpu": "3..",
            "memory": f"{job_needs(estimate).ram_gib}GB..",
            "shm_size": "100MB",
        }
    }


def test_a_pod_wants_the_card_by_its_label_and_its_memory(fitting: Estimate) -> None:
    estimate = with_host(fitting, workers=2, shm_peak_bytes=80 * MIB, cores_needed=None)
    spec = read(estimate, RequestFormat.K8S)["spec"]
    terms = spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    product, memory = terms["nodeSelectorTerms"][0]["matchExpressions"]
    assert product["values"] == ["NVIDIA-A100-SXM4-40GB"]
    (above,) = memory["values"]
    assert int(above) < estimate.gpus[0].total_memory_bytes // MIB <= int(above) + 1
    (one,) = spec["containers"]
    memory_gib = f"{job_needs(estimate).ram_gib}Gi"
    assert one["resources"] == {
        "requests": {"cpu": "3", "memory": memory_gib},
        "limits": {"nvidia.com/gpu": 1, "memory": memory_gib},
    }
    (volume,) = spec["volumes"]
    assert volume["emptyDir"] == {"medium": "Memory", "sizeLimit": "100Mi"}
    assert one["volumeMounts"] == [{"name": volume["name"], "mountPath": "/dev/shm"}]


def test_slurm(fitting: Estimate) -> None:
    estimate = with_host(fitting, workers=2, cores_needed=None)
    text = resource_request(estimate, RequestFormat.SLURM)
    lines = [line for line in text.splitlines() if line.startswith("#SBATCH")]
    assert lines == [
        "#SBATCH --gres=gpu:a100:1",
        "#SBATCH --ntasks=1",
        "#SBATCH --cpus-per-task=3",
        f"#SBATCH --mem={job_needs(estimate).ram_gib}G",
    ]


def test_the_data_set_what_cores_it_needs(fitting: Estimate) -> None:
    """2.2 cores are 4.4 threads; the loop has one more."""
    assert job_needs(with_host(fitting, workers=1, cores_needed=2.2)).cpus == 6
    assert job_needs(with_host(fitting, workers=8, cores_needed=2.2)).cpus == 9


def test_ram_leaves_room_and_counts_cuda(fitting: Estimate) -> None:
    one, more = (
        job_needs(with_host(fitting, dataset_bytes=size)).ram_bytes for size in (0, 8 * GIB)
    )
    assert one is not None
    assert more is not None
    host = fitting.gpus[0].host
    assert host is not None
    assert one * 0.8 >= host.ram.total_bytes + 1200 * MIB
    assert more - one == pytest.approx(10 * GIB, abs=2)


@pytest.mark.parametrize("scheduler", RequestFormat)
def test_what_does_not_fit_is_not_requested(
    scheduler: RequestFormat, fitting: Estimate, t4: DeviceEstimate
) -> None:
    alone = resource_request(replace(fitting, gpus=(t4,)), scheduler)
    assert all(re.match(r"# \S", line) for line in alone.splitlines())
    assert "nothing is requested" in alone
    both = resource_request(replace(fitting, gpus=(t4, *fitting.gpus)), scheduler)
    requested = [line for line in both.splitlines() if not line.startswith("# ")]
    assert requested
    assert not any("t4" in line.lower() for line in requested)


def test_several_cards_are_alternatives(fitting: Estimate) -> None:
    first = fitting.gpus[0]
    second = replace(first, name="NVIDIA L40S", id="l40s", total_memory_bytes=44 * GIB)
    estimate = replace(fitting, gpus=(first, second))
    accelerators = read(estimate, RequestFormat.SKY)["resources"]["accelerators"]
    assert accelerators == {"A100": 1, "L40S": 1}
    gpu = read(estimate, RequestFormat.DSTACK)["resources"]["gpu"]
    assert gpu == {"name": ["A100", "L40S"], "memory": "40GB..", "count": 1}
    types = read(estimate, RequestFormat.HAMI)["metadata"]["annotations"]
    assert types == {"nvidia.com/use-gputype": "NVIDIA A100-SXM4-40GB,NVIDIA L40S"}
    slurm = resource_request(estimate, RequestFormat.SLURM)
    assert slurm.count("\n#SBATCH --gres") == 1
    assert "instead, it fits too: --gres=gpu:l40s:1" in slurm


def test_a_card_without_a_name_there_is_said(fitting: Estimate) -> None:
    own = replace(fitting.gpus[0], name="NVIDIA Own", id="own")
    with pytest.raises(
        UsageError, match=r"no name of SkyPilot's catalogue is known for NVIDIA Own"
    ):
        resource_request(replace(fitting, gpus=(own,)), RequestFormat.SKY)
    both = resource_request(replace(fitting, gpus=(own, *fitting.gpus)), RequestFormat.DSTACK)
    assert "# NVIDIA Own is not requested" in both


def test_what_is_not_known_of_the_host_is_not_requested(fitting: Estimate) -> None:
    estimate = replace(fitting, gpus=(replace(fitting.gpus[0], host=None),))
    assert read(estimate, RequestFormat.SKY) == {"resources": {"accelerators": "A100:1"}}
    assert container(estimate, RequestFormat.K8S) == {"limits": {"nvidia.com/gpu": 1}}
    assert "not known and not requested" in resource_request(estimate, RequestFormat.SKY)


@pytest.mark.parametrize("scheduler", YAML)
def test_texts_from_outside_stay_comments_and_values(
    scheduler: RequestFormat, fitting: Estimate
) -> None:
    name = 'NVIDIA "X"\nlimits: {a: b}\x1b'
    card = replace(fitting.gpus[0], name=name)
    hostile = replace(
        fitting, gpus=(card,), target="net.py\nresources: {}", warnings=("one\nspec: 1",)
    )
    assert read(hostile, scheduler).keys() == read(fitting, scheduler).keys()
    assert "\x1b" not in resource_request(hostile, scheduler)


def test_a_cpu_has_no_card_to_request(fitting: Estimate) -> None:
    with pytest.raises(UsageError, match="needs a card"):
        resource_request(replace(fitting, engine="cpu"), RequestFormat.K8S)


def test_warnings_are_comments(fitting: Estimate) -> None:
    text = resource_request(replace(fitting, warnings=("a doubt",)), RequestFormat.K8S)
    assert "# warning: a doubt\n" in text


def test_names_are_of_cards_that_are_known() -> None:
    cards = {card.id: card for card in load_gpus().all()}
    for names in (SKYPILOT_NAMES, GPUHUNT_NAMES):
        assert names.keys() <= cards.keys()
    for card_id, (_, size_gb) in GPUHUNT_NAMES.items():
        assert size_gb == pytest.approx(cards[card_id].nominal_memory_bytes / GIB, rel=0.02)


def test_node_label() -> None:
    assert node_label("NVIDIA H100 80GB HBM3") == "NVIDIA-H100-80GB-HBM3"
