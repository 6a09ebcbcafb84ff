"""Rents of the catalogues of SkyPilot and gpuhunt, in the form that they have on disk.

The rows of Lambda are those of
https://github.com/skypilot-org/skypilot-catalog/blob/master/catalogs/v8/lambda/vms.csv.
"""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import pytest

from planner.cost.catalogue import catalogue
from planner.errors import UsageError

SKY = (
    "InstanceType,AcceleratorName,AcceleratorCount,vCPUs,MemoryGiB,Price,Region,GpuInfo,SpotPrice\n"
)
LAMBDA = (
    f"{SKY}cpu_4x_general,,,4.0,16.0,0.2,us-east-1,,\n"
    "gpu_8x_v100,V100,8.0,92.0,448.0,6.32,us-east-1,\"{'Gpus': []}\",\n"
    "gpu_4x_a6000,A6000,4.0,56.0,400.0,4.36,us-east-1,,\n"
    "gpu_1x_a6000,A6000,1.0,14.0,100.0,1.09,us-west-1,,\n"
)
HUNT = (
    "instance_name,location,price,cpu,memory,gpu_count,gpu_name,gpu_memory,spot,disk_size,"
    "gpu_vendor,flags,cpu_arch,provider_data\n"
    "a,us,10.0,8,64,8,A100,40.0,False,,nvidia,,x86,{}\n"
    "b,us,16.0,8,64,8,A100,80.0,False,,nvidia,,x86,{}\n"
    "c,us,3.0,8,64,8,A100,80.0,True,,nvidia,,x86,{}\n"
    "d,us,0.5,8,64,0,,,False,,,,x86,{}\n"
)
DAY_S = 1_790_000_000  # 2026-09-21


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with no catalogue."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("SKY_RUNTIME_DIR", raising=False)
    return tmp_path


def put(file: Path, text: str) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    os.utime(file, (DAY_S, DAY_S))
    return file


def test_skypilots_newest_catalogue(home: Path) -> None:
    put(home / ".sky/catalogs/v9/lambda/vms.csv", f"{SKY}x,V100,1,4,16,99,us,,\n")
    put(home / ".sky/catalogs/v10/lambda/vms.csv", LAMBDA)
    found = catalogue("sky")
    assert set(found.prices) == {"v100-sxm2-16gb", "v100-pcie-16gb", "rtx-a6000"}
    rent = found.prices["v100-sxm2-16gb"]
    assert (rent.low, rent.high, rent.currency) == (6.32 / 8, 6.32 / 8, "USD")
    assert rent.basis == "SkyPilot's catalogue of 2026-09-21: 1 offer on demand"
    assert (found.prices["rtx-a6000"].low, found.prices["rtx-a6000"].high) == (1.09, 1.09)
    (note,) = found.notes
    assert "files of 2026-09-21" in note
    assert "could not be read" not in note


def test_several_clouds_are_a_range(home: Path) -> None:
    put(home / "c/lambda/vms.csv", LAMBDA)
    put(home / "c/other/vms.csv", f"{SKY}y,rtxa6000,2,4,16,5.0,us,,0.1\nz,A6000,1,4,16,,us,,0.1\n")
    rent = catalogue(f"sky:{home / 'c'}").prices["rtx-a6000"]
    assert (rent.low, rent.high) == (1.09, 2.5)


@pytest.mark.parametrize(
    "row",
    [
        "x,A6000,1,4,16,free,us,,", "x,A6000,0,4,16,1,us,,", "x,A6000,,4,16,1,us,,",
        "x,A6000,1,4,16,-1,us,,", "x,A6000,1,4,16,nan,us,,", "x,A6000,1,4,16,1e9,us,,",
    ],
)  # fmt: skip
def test_a_broken_row_is_left_out_and_counted(row: str, home: Path) -> None:
    put(home / "c/vms.csv", f"{LAMBDA}{row}\n")
    found = catalogue(f"sky:{home / 'c'}")
    assert found.prices["rtx-a6000"].high == 1.09
    assert "1 row could not be read and is left out" in found.notes[0]


def test_gpuhunt_by_name_and_memory_on_demand(home: Path) -> None:
    put(home / "hunt/aws.csv", HUNT)
    found = catalogue(f"gpuhunt:{home / 'hunt'}").prices
    assert (found["a100-sxm4-40gb"].low, found["a100-sxm4-40gb"].high) == (1.25, 1.25)
    assert (found["a100-sxm4-80gb"].low, found["a100-sxm4-80gb"].high) == (2.0, 2.0)


def test_an_archive_of_gpuhunt(home: Path) -> None:
    with zipfile.ZipFile(home / "catalog.zip", "w") as archive:
        archive.writestr("aws.csv", HUNT)
    assert catalogue(f"gpuhunt:{home / 'catalog.zip'}").prices["a100-pcie-80gb"].low == 2.0


@pytest.mark.parametrize(
    ("word", "says"),
    [
        ("sky", "SkyPilot fetches it at its first use"),
        ("sky:/absent", "has no rents at /absent"),
        ("gpuhunt", "gpuhunt keeps none on disk: write one with `python -m gpuhunt PROVIDER"),
    ],
)
def test_without_a_catalogue_it_is_a_note(word: str, says: str, home: Path) -> None:
    found = catalogue(word)
    assert found.prices == {}
    (note,) = found.notes
    assert says in note
    assert note.endswith("rents are those of the records of cards")


@pytest.mark.parametrize("data", [b"", b"\x00\xff", b"PK\x03\x04broken"])
def test_a_broken_file_is_a_note(data: bytes, home: Path) -> None:
    for name in ("catalog.zip", "vms.csv"):
        (home / name).write_bytes(data)
        assert catalogue(f"gpuhunt:{home / name}").prices == {}


@pytest.mark.parametrize("word", ["", "aws", "skypilot:x"])
def test_another_word_is_refused(word: str) -> None:
    with pytest.raises(UsageError, match="names no catalogue"):
        catalogue(word)
