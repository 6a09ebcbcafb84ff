"""The variables that hold the allocator's setting, before torch reads them."""

from __future__ import annotations

import os

import pytest
import torch

from planner.wire.variables import ALLOC_CONF, ALLOC_CONF_VARIABLES
from planner.worker.engines import alloc_conf

INHERITED = {"PYTORCH_ALLOC_CONF": "max_split_size_mb:99"}


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ALLOC_CONF_VARIABLES:
        monkeypatch.setenv(name, "")  # so that the test's end restores what is there now
        monkeypatch.delenv(name)
    monkeypatch.setattr(alloc_conf, "_STARTED_WITH", INHERITED)


def settings() -> dict[str, str]:
    return {name: os.environ[name] for name in ALLOC_CONF_VARIABLES if name in os.environ}


def test_a_setting_takes_the_place_of_all_others() -> None:
    os.environ.update(dict.fromkeys(ALLOC_CONF_VARIABLES, "expandable_segments:True"))
    alloc_conf.choose("roundup_power2_divisions:4")
    assert settings() == {ALLOC_CONF: "roundup_power2_divisions:4"}
    assert alloc_conf.chosen() == (ALLOC_CONF, "roundup_power2_divisions:4")


def test_without_one_the_process_has_what_it_was_started_with() -> None:
    alloc_conf.choose("roundup_power2_divisions:4")
    alloc_conf.choose(None)
    assert settings() == INHERITED
    assert alloc_conf.chosen() == ("PYTORCH_ALLOC_CONF", "max_split_size_mb:99")


def test_nothing_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alloc_conf, "_STARTED_WITH", {})
    alloc_conf.choose(None)
    assert alloc_conf.chosen() is None


@pytest.mark.parametrize("read_before", [False, True])
def test_a_setting_that_torch_has_read_before_stays(
    monkeypatch: pytest.MonkeyPatch, read_before: bool
) -> None:
    def settings() -> str:
        return "" if read_before else os.environ[ALLOC_CONF]

    monkeypatch.setattr(torch._C, "_accelerator_getAllocatorSettings", settings, raising=False)
    assert alloc_conf.is_still_read() is not read_before


def test_a_torch_that_cannot_tell_is_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch._C, "_accelerator_getAllocatorSettings", raising=False)
    assert alloc_conf.is_still_read()
