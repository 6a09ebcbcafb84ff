"""How fast one core prepares data: hand arithmetic for measured, estimated and unknown cores."""

from __future__ import annotations

from dataclasses import replace

import pytest

from planner.hardware.cpu_specs import (
    DECODE_ITEMS_PER_S_AND_GHZ,
    MEASURED_ARCHITECTURES,
    REFERENCE_DECODE_ITEMS_PER_S,
)
from planner.hardware.database import load_cpus


@pytest.mark.parametrize(
    ("cpu", "speed"),
    [
        ("epyc-9b14", 1.0),
        ("epyc-9b45", 726 / 537),
        ("ampere-altra-q64-30", 360 / 537),
        ("epyc-9654", 1.0),  # the same core and clock as the reference
        ("ryzen-9-7950x", 5.7 / 3.7),
        ("epyc-7763", 3.5 / 3.7 / 1.13),
        ("epyc-7r32", 3.3 / 3.7 / 1.13 / 1.19),
        ("ryzen-9-9950x", 726 / 4.1 * 5.7 / 537),
        ("core-i9-13900k", 577 / 4.0 * 5.8 / 537),
        ("xeon-platinum-8358", 577 / 4.0 / 1.19 * 3.4 / 537),
        ("xeon-platinum-8259cl", 577 / 4.0 / 1.19 / 1.18 * 3.5 / 537),
        ("xeon-e5-2686-v4", 577 / 4.0 / 1.19 / 1.18 / 1.10 * 3.0 / 537),
        ("graviton2", 360 / 3.0 * 2.5 / 537),
        ("graviton3", 360 / 3.0 * 1.25 * 2.5 / 537),
        ("grace", 551 / 3.0 * 3.4 / 537),
    ],
)
def test_core_speed_by_hand(cpu: str, speed: float) -> None:
    assert load_cpus().find(cpu).spec.core_speed == pytest.approx(speed, rel=1e-9)


def test_measured_processors_agree_with_their_own_architecture() -> None:
    """A rate and its figure per GHz come from one table: a clock that moves shows here."""
    measured = [spec for spec in load_cpus().all() if spec.jpeg_decode_items_per_s is not None]
    assert {spec.architecture for spec in measured} == set(MEASURED_ARCHITECTURES)
    for spec in measured:
        by_clock = replace(spec, jpeg_decode_items_per_s=None)
        assert by_clock.core_speed == pytest.approx(spec.core_speed, rel=0.01)


def test_basis_says_what_it_rests_on() -> None:
    cpus = load_cpus()
    assert cpus.find("9b45").spec.core_speed_basis == (
        "measured: 726 JPEGs/s with Pillow in one thread, 537 on the reference core (EPYC 9B14)"
    )
    assert cpus.find("7950x").spec.core_speed_basis == (
        "estimated from the boost clock, 5.7 GHz, times 145 JPEGs/s and GHz, measured for zen4; "
        "+-20%"
    )
    assert ", derived for zen3; +-20%" in cpus.find("7763").spec.core_speed_basis


def test_unknown_architectures_are_taken_for_the_reference_core() -> None:
    spec = replace(load_cpus().find("7950x").spec, architecture="quantum")
    assert spec.core_speed == pytest.approx(5.7 / 3.7)
    assert spec.core_speed_basis.startswith("guessed from the boost clock, 5.7 GHz: quantum")


def test_nothing_known_is_the_reference_core_and_says_so() -> None:
    spec = replace(load_cpus().find("7950x").spec, boost_clock_hz=None)
    assert spec.core_speed == 1.0
    assert spec.core_speed_basis.startswith("unknown: ")


def test_newer_cores_do_more_per_clock() -> None:
    rate = DECODE_ITEMS_PER_S_AND_GHZ
    assert rate["zen2"] < rate["zen3"] < rate["zen4"] < rate["zen5"]
    assert rate["broadwell"] < rate["cascade-lake"] < rate["ice-lake"] < rate["sapphire-rapids"]
    assert rate["neoverse-n1"] < rate["neoverse-v1"] < rate["neoverse-v2"]
    assert rate["zen4"] * 3.7 == pytest.approx(REFERENCE_DECODE_ITEMS_PER_S)
