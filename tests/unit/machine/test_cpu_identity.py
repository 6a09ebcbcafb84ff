"""Which processor /proc/cpuinfo names: plain names, architectures, machines that tell little."""

from __future__ import annotations

from pathlib import Path

import pytest

from planner.errors import UnknownCpuError
from planner.hardware.cpu_specs import CpuVendor
from planner.hardware.database import load_cpus
from planner.machine.cpu_identity import cpu_identity, plain_name


def cpuinfo(folder: Path, **values: object) -> Path:
    names = {"cpu_family": "cpu family", "model_name": "model name", "cpu_MHz": "cpu MHz"}
    text = "".join(f"{names.get(key, key)}\t: {value}\n" for key, value in values.items())
    path = folder / "cpuinfo"
    path.write_text(f"processor\t: 0\n{text}\nprocessor\t: 1\nmodel name\t: another\n")
    return path


@pytest.mark.parametrize(
    ("model_name", "cpu"),
    [
        ("AMD EPYC 7763 64-Core Processor", "epyc-7763"),
        ("AMD EPYC 7R32", "epyc-7r32"),
        ("AMD EPYC 7R13 Processor", "epyc-7r13"),
        ("AMD EPYC 9B14", "epyc-9b14"),
        ("AMD Ryzen 9 5950X 16-Core Processor", "ryzen-9-5950x"),
        ("AMD Ryzen Threadripper PRO 5995WX 64-Cores", "threadripper-pro-5995wx"),
        ("Intel(R) Xeon(R) CPU E5-2686 v4 @ 2.30GHz", "xeon-e5-2686-v4"),
        ("Intel(R) Xeon(R) Platinum 8259CL CPU @ 2.50GHz", "xeon-platinum-8259cl"),
        ("Intel(R) Xeon(R) Platinum 8480+", "xeon-platinum-8480-plus"),
        ("INTEL(R) XEON(R) PLATINUM 8581C CPU @ 2.30GHz", "xeon-platinum-8581c"),
        ("12th Gen Intel(R) Core(TM) i9-12900K", "core-i9-12900k"),
        ("13th Gen Intel(R) Core(TM) i9-13900K", "core-i9-13900k"),
    ],
)
def test_model_names_lead_to_records(model_name: str, cpu: str) -> None:
    assert load_cpus().find(plain_name(model_name)).spec.id == cpu


@pytest.mark.parametrize("model_name", ["AMD EPYC", "Intel(R) Xeon(R) CPU @ 2.20GHz"])
def test_names_that_clouds_hide_lead_to_none(model_name: str) -> None:
    with pytest.raises(UnknownCpuError):
        load_cpus().find(plain_name(model_name))


@pytest.mark.parametrize(
    ("vendor", "family", "model", "architecture"),
    [
        ("AuthenticAMD", 23, 49, "zen2"),
        ("AuthenticAMD", 23, 1, "unknown"),
        ("AuthenticAMD", 25, 1, "zen3"),
        ("AuthenticAMD", 25, 33, "zen3"),
        ("AuthenticAMD", 25, 17, "zen4"),
        ("AuthenticAMD", 25, 97, "zen4"),
        ("AuthenticAMD", 26, 2, "zen5"),
        ("GenuineIntel", 6, 79, "broadwell"),
        ("GenuineIntel", 6, 85, "cascade-lake"),
        ("GenuineIntel", 6, 106, "ice-lake"),
        ("GenuineIntel", 6, 143, "sapphire-rapids"),
        ("GenuineIntel", 6, 207, "emerald-rapids"),
        ("GenuineIntel", 6, 151, "alder-lake"),
        ("GenuineIntel", 6, 183, "raptor-lake"),
        ("GenuineIntel", 15, 143, "unknown"),
        ("Other", 25, 17, "unknown"),
    ],
)
def test_architectures(
    tmp_path: Path, vendor: str, family: int, model: int, architecture: str
) -> None:
    path = cpuinfo(tmp_path, vendor_id=vendor, cpu_family=family, model=model, model_name="X")
    assert cpu_identity(path).architecture == architecture


def test_the_first_processor_counts(tmp_path: Path) -> None:
    path = cpuinfo(
        tmp_path, vendor_id="AuthenticAMD", cpu_family=25, model=17, model_name="AMD EPYC 9B14",
        cpu_MHz="2596.134",
    )  # fmt: skip
    found = cpu_identity(path)
    assert (found.name, found.vendor) == ("AMD EPYC 9B14", CpuVendor.AMD)
    assert found.clock_hz == 2_596_134_000


@pytest.mark.parametrize(
    ("part", "architecture"),
    [("0xd0c", "neoverse-n1"), ("0xd40", "neoverse-v1"), ("0xd4f", "neoverse-v2"),
     ("0xfff", "unknown")],
)  # fmt: skip
def test_arm_tells_a_part_and_no_name(tmp_path: Path, part: str, architecture: str) -> None:
    path = tmp_path / "cpuinfo"
    path.write_text(f"processor\t: 0\nCPU implementer\t: 0x41\nCPU part\t: {part}\n\n")
    found = cpu_identity(path)
    assert (found.name, found.architecture) == (None, architecture)
    assert found.vendor is CpuVendor.UNKNOWN


def test_nothing_to_read_is_unknown(tmp_path: Path) -> None:
    found = cpu_identity(tmp_path / "missing")
    assert (found.name, found.architecture, found.clock_hz) == (None, "unknown", None)
