"""Words on data, host and money: looked up, or refused with what to write instead."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from planner.errors import UnknownCpuError, UnknownHostError, UsageError
from planner.estimation import job as module
from planner.estimation.job import DEFAULT_WORKERS, NAMES, job_config, speed_words
from planner.hardware.cpu_specs import CpuSpec
from planner.hardware.database import load_cpus, load_hosts
from planner.units import GIB


def test_nothing_said_takes_no_host_for_granted() -> None:
    found = job_config()
    assert (found.host, found.item, found.ram_bytes, found.price) == (None, None, None, None)
    assert found.loader.workers == DEFAULT_WORKERS
    assert (found.loader.prefetch_factor, found.loader.pin_memory) == (2, True)
    assert (found.pue, found.dataset_samples, found.notes) == (1.0, None, ())


def test_words_for_it_are_told_from_the_others() -> None:
    asked, others = speed_words({"data": "tokens", "batch_size": 8, "pin_memory": False})
    assert asked == {"data": "tokens", "pin_memory": False}
    assert others == {"batch_size": 8}
    assert len(set(NAMES)) == 13


def test_a_host_has_what_its_record_says() -> None:
    spec = load_hosts().find("g5.xlarge").spec
    found = job_config(host="g5.xlarge")
    assert found.host is not None
    assert (found.host.requested, found.host.cores) == ("g5.xlarge", spec.physical_cores)
    assert found.host.threads == spec.vcpus
    assert found.ram_bytes == spec.ram_bytes
    assert found.core_like == spec.cpu.name
    assert found.loader.workers == int(spec.physical_cores)
    assert found.cards_of_host == spec.gpus


def test_ram_takes_the_place_of_what_the_host_has() -> None:
    found = job_config(host="g5.xlarge", ram="3GiB")
    assert found.ram_bytes == 3 * GIB
    assert found.host is not None
    assert found.host.ram_bytes == 3 * GIB


def test_a_processor_alone_has_no_ram_unless_it_is_said() -> None:
    found = job_config(cpu="epyc-7742")
    assert found.host is not None
    assert (found.host.cores, found.host.threads, found.ram_bytes) == (64.0, 128, None)
    assert found.loader.workers == 8
    assert found.cards_of_host == ()
    assert job_config(cpu="epyc-7742", ram=GIB).ram_bytes == GIB


def test_ram_without_a_host_is_ram() -> None:
    assert job_config(ram="64GiB").ram_bytes == 64 * GIB


def test_milliseconds_are_of_a_core_of_the_host() -> None:
    core = load_cpus().find("epyc-7742").spec.core_speed
    found = job_config(data=4.0, cpu="epyc-7742")
    assert found.item is not None
    assert found.item.prepare_s == pytest.approx(4e-3 * core)
    plain = job_config(data="4")
    assert plain.item is not None
    assert plain.item.prepare_s == 4e-3


def test_the_rest_is_read() -> None:
    found = job_config(
        workers=3, prefetch_factor=4, pin_memory=False, price="EUR 2.49/h", dataset_size="50k",
        pue=1.2, measure_data=True, power_limit=200,
    )  # fmt: skip
    loader = found.loader
    assert (loader.workers, loader.prefetch_factor, loader.pin_memory) == (3, 4, False)
    assert found.price is not None
    assert (found.price.low, found.price.currency) == (2.49, "EUR")
    assert (found.dataset_samples, found.pue, found.measure_data) == (50_000, 1.2, True)
    assert found.power_limit_w == 200


def test_no_workers_are_asked_for_by_a_word() -> None:
    assert job_config(workers="none", host="g5.xlarge").loader.workers == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"data": "imagenet"}, "imagenet-jpeg"),
        ({"data": "0"}, "cannot take"),
        ({"data": -1.0}, "cannot take"),
        ({"data": "nan"}, "cannot take"),
        ({"data": "1e300"}, "cannot take"),
        ({"data": "tokens", "measure_data": True}, "one of the two"),
        ({"measure_data": "yes"}, "True or False"),
        ({"workers": -1}, "-1 workers"),
        ({"workers": 0}, "made between the steps, say --workers none"),
        ({"workers": "4"}, "workers must be a whole number"),
        ({"workers": True}, "workers must be a whole number"),
        ({"prefetch_factor": 0}, "at least 1 batch"),
        ({"prefetch_factor": 1.5}, "prefetch_factor must be a whole number"),
        ({"prefetch_factor": 2, "workers": "none"}, "leave prefetch_factor out"),
        ({"pin_memory": 0}, "pin_memory must be True or False"),
        ({"host": "g5.xlarge", "cpu": "epyc-7742"}, "leave cpu 'epyc-7742' out"),
        ({"host": 5}, "host must be text"),
        ({"ram": "0"}, "more than 0"),
        ({"ram": -5}, "more than 0"),
        ({"ram": "much"}, "is not a size"),
        ({"ram": 1.5}, "24GiB"),
        ({"ram": True}, "24GiB"),
        ({"price": "2.49"}, "names no currency"),
        ({"price": "-1 USD/h"}, "negative"),
        ({"price": 2.49}, "price must be text"),
        ({"prices": "aws"}, "prices 'aws' names no catalogue"),
        ({"price": "1 USD/h", "prices": "sky"}, "say one of the two"),
        ({"dataset_size": 0}, "whole number of samples"),
        ({"dataset_size": -5}, "whole number of samples"),
        ({"dataset_size": "1.5"}, "whole number of samples"),
        ({"pue": 0.9}, "from 1 to 10"),
        ({"pue": -1}, "from 1 to 10"),
        ({"pue": float("nan")}, "from 1 to 10"),
        ({"pue": "1.2"}, "pue must be a number"),
        ({"power_limit": "200"}, "power_limit must be a number"),
        ({"power_limit": True}, "power_limit must be a number"),
    ],
    ids=lambda value: " ".join(f"{k}={v}" for k, v in value.items())
    if isinstance(value, dict)
    else "",
)  # fmt: skip
def test_what_cannot_be_meant_is_refused(words: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError) as caught:
        job_config(**words)
    assert said in str(caught.value)


def test_wrong_words_are_found_before_this_machine_is_measured(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def never(cpus: object) -> CpuSpec:
        raise AssertionError("measured")

    monkeypatch.setattr(module, "this_host", never)
    for words in ({"price": "2.49"}, {"data": "none"}, {"workers": -1}, {"dataset_size": "0"}):
        with pytest.raises(UsageError):
            job_config(host="this", **words)


def test_unknown_names_are_met_with_near_ones(tmp_path: Path) -> None:
    with pytest.raises(UnknownCpuError, match="epyc-7742"):
        job_config(cpu="epyc-7724")
    with pytest.raises(UnknownHostError, match="g5-xlarge"):
        job_config(host="g5-xlarg")
    with pytest.raises(UnknownCpuError):
        job_config(cpu="")
    with pytest.raises(UnknownHostError):
        job_config(host="")
