"""Finding cards by name, and what is said of records that cannot be used."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from planner.errors import HardwareDatabaseError, UnknownGpuError, UsageError
from planner.hardware.database import load_gpus
from planner.hardware.specs import ContextKind
from planner.units import GIB, MIB
from tests.unit.hardware.own_records import written


@pytest.fixture
def record() -> dict[str, Any]:
    """A user's record of an invented card."""
    return {
        "id": "lab-card",
        "name": "NVIDIA Lab Card",
        "aliases": ["labby"],
        "vendor": "nvidia",
        "architecture": "ampere",
        "compute_capability": "8.6",
        "chip": {
            "streaming_multiprocessors": 10,
            "cuda_cores": 1280,
            "tensor_cores": 40,
            "boost_clock_mhz": 1500,
            "l2_mib": 2.5,
        },
        "limits": {
            "threads_per_sm": 1536,
            "blocks_per_sm": 16,
            "shared_memory_per_sm_kib": 100,
            "shared_memory_per_block_optin_kib": 99,
        },
        "memory": {
            "type": "GDDR6",
            "nominal_gib": 6,
            "usable_gib": [5.75, 5.8],
            "inline_ecc": "none",
            "bus_bits": 96,
            "clock_mhz": 7001,
            "bandwidth_gb_per_s": 168,
        },
        "peaks_tflops": {
            "fp64": None,
            "fp32": 3.84,
            "tf32": None,
            "fp16": 7.7,
            "fp16_fp16_accumulate": None,
            "bf16": None,
            "fp8": None,
            "int8": None,
        },
        "board": {"nvlink_gb_per_s": 0, "tdp_w": 70},
        "sources": dict.fromkeys(
            ["chip", "limits", "memory", "usable_gib", "peaks_tflops", "board"], "our own lab"
        ),
        "confidence": "low",
    }


@pytest.mark.parametrize(
    ("name", "card"),
    [
        ("t4", "t4"),
        ("T4", "t4"),
        ("Tesla T4", "t4"),
        ("tesla_t4", "t4"),
        ("l4", "l4"),
        ("rtx3090", "rtx-3090"),
        ("3090", "rtx-3090"),
        ("NVIDIA GeForce RTX 3090", "rtx-3090"),
        ("geforce-rtx_3090", "rtx-3090"),
        ("RTX 3090 Ti", "rtx-3090-ti"),
        ("rtx4090", "rtx-4090"),
        ("rtx 4090 d", "rtx-4090-d"),
        ("NVIDIA A100-SXM4-80GB", "a100-sxm4-80gb"),
        ("a100-pcie-40gb", "a100-pcie-40gb"),
        ("h200", "h200-sxm"),
        ("a6000", "rtx-a6000"),
        ("6000 ada", "rtx-6000-ada"),
        ("quadro rtx 6000", "quadro-rtx-6000"),
        ("gtx 1080 ti", "gtx-1080-ti"),
        ("mi300x", "mi300x"),
        ("AMD Instinct MI300X", "mi300x"),
        ("mi250x", "mi250x-gcd"),
        ("rtx-3080-12gb", "rtx-3080-12gb"),
    ],
)
def test_spellings(name: str, card: str) -> None:
    match = load_gpus().find(name)
    assert match.spec.id == card
    assert match.requested == name


@pytest.mark.parametrize(
    ("name", "card", "note"),
    [
        (
            "a100",
            "a100-sxm4-80gb",
            "assuming A100-SXM4-80GB; also: a100-sxm4-40gb, a100-pcie-40gb, a100-pcie-80gb",
        ),
        ("a100-40gb", "a100-sxm4-40gb", "assuming A100-SXM4-40GB; also: a100-pcie-40gb"),
        (
            "v100",
            "v100-sxm2-16gb",
            "assuming Tesla V100-SXM2-16GB; also: v100-sxm2-32gb, v100-pcie-16gb, "
            "v100-pcie-32gb, v100s-pcie-32gb",
        ),
        (
            "H100",
            "h100-sxm5-80gb",
            "assuming H100 80GB HBM3; also: h100-pcie-80gb, h100-nvl-94gb",
        ),
        ("RTX 3080", "rtx-3080-10gb", "assuming GeForce RTX 3080 10GB; also: rtx-3080-12gb"),
        (
            "NVIDIA GeForce RTX 4060 Ti",
            "rtx-4060-ti-8gb",
            "assuming GeForce RTX 4060 Ti 8GB; also: rtx-4060-ti-16gb",
        ),
    ],
)
def test_short_names_say_what_was_assumed(name: str, card: str, note: str) -> None:
    match = load_gpus().find(name)
    assert (match.spec.id, match.note) == (card, note)


def test_full_names_assume_nothing() -> None:
    cards = load_gpus()
    for spec in cards.all():
        match = cards.find(spec.id)
        assert match.spec == spec
        assert match.note == spec.assumption


def test_every_device_name_leads_to_a_card_of_that_name() -> None:
    cards = load_gpus()
    for spec in cards.all():
        assert cards.find(spec.name).spec.name == spec.name


@pytest.mark.parametrize(
    ("name", "near"),
    [("rtx4900", "rtx-4090"), ("a1000", "a100"), ("RTX 3060ti super", "rtx-3060-ti")],
)
def test_unknown_card_is_told_near_names(name: str, near: str) -> None:
    with pytest.raises(UnknownGpuError) as caught:
        load_gpus().find(name)
    message = str(caught.value)
    assert repr(name) in message
    assert near in message.split("near names: ")[1]
    assert "planner gpus" in message
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("name", ["", "  ", "zzzzzzzz", "nvidia", "ünïcode"])
def test_names_that_resemble_nothing(name: str) -> None:
    with pytest.raises(UnknownGpuError, match="planner gpus"):
        load_gpus().find(name)


def test_profile_plans_with_the_least_memory() -> None:
    spec = load_gpus().find("t4").spec
    profile = spec.profile
    assert spec.emulatable
    assert profile.total_memory_bytes == spec.usable_memory_bytes == int(14.56 * 1024) * MIB
    assert profile.compute_capability == (7, 5)
    assert profile.memory_clock_hz == 5_001_000_000
    assert profile.context_overhead_bytes == spec.context_overhead_bytes == 198 * MIB


def test_cards_of_other_vendors_are_listed_but_not_emulated() -> None:
    spec = load_gpus().find("mi300x").spec
    assert not spec.emulatable
    with pytest.raises(UsageError, match=r"MI300X.*cannot be emulated"):
        _ = spec.profile
    with pytest.raises(UsageError, match=r"MI300X.*cannot be emulated"):
        _ = spec.context_overhead_bytes


@pytest.mark.parametrize("below", [".", "gpus"])
def test_user_folder_adds_a_card(tmp_path: Path, record: dict[str, Any], below: str) -> None:
    written(tmp_path / below, record)
    cards = load_gpus(tmp_path)
    spec = cards.find("Lab Card").spec
    assert cards.find("labby").spec is spec
    assert spec.usable_memory_bytes == int(5.75 * GIB)
    assert spec.context is not None
    assert spec.context.kind is ContextKind.MODEL
    assert spec.context_overhead_bytes == 80 * MIB  # 46 + 2.174 * 10 * 1536 / 1000 = 79.4
    assert len(cards.all()) == len(load_gpus().all()) + 1
    assert cards.find("t4").spec.id == "t4"


def test_user_record_replaces_ours_of_the_same_id(tmp_path: Path, record: dict[str, Any]) -> None:
    written(tmp_path, {**record, "id": "t4"})
    cards = load_gpus(tmp_path)
    assert cards.find("t4").spec.name == "NVIDIA Lab Card"
    assert len(cards.all()) == len(load_gpus().all())


def test_users_names_win_over_ours(tmp_path: Path, record: dict[str, Any]) -> None:
    written(tmp_path, {**record, "aliases": ["a100", "RTX 3080"]})
    cards = load_gpus(tmp_path)
    assert cards.find("a100").spec.id == "lab-card"
    assert cards.find("3080").spec.id == "lab-card"
    assert cards.find("rtx-3080-10gb").spec.id == "rtx-3080-10gb"


def changed(record: dict[str, Any], path: str, value: object) -> dict[str, Any]:
    *above, key = path.split(".")
    section = record
    for part in above:
        section = section[part]
    if value is ...:
        del section[key]
    else:
        section[key] = value
    return record


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        ("colour", "green", "colour: is not a key"),
        ("memory.speed", 5, "memory.speed: is not a key"),
        ("chip", ..., "chip: is missing"),
        ("memory.usable_gib", ..., "memory.usable_gib: is missing"),
        ("limits.threads_per_sm", ..., "limits.threads_per_sm: is missing"),
        ("peaks_tflops.bf16", ..., "peaks_tflops.bf16: is missing; write null"),
        ("compute_capability", ..., "compute_capability: is missing"),
        ("compute_capability", 8.6, "compute_capability: must be text"),
        ("compute_capability", "eight", "compute_capability: 'eight'"),
        ("chip.boost_clock_mhz", None, "chip.boost_clock_mhz: is null"),
        ("chip.boost_clock_mhz", "1500 MHz", "chip.boost_clock_mhz: must be a plain number"),
        ("chip.boost_clock_mhz", 1.5, "chip.boost_clock_mhz: 1.5 is outside"),
        ("chip.cuda_cores", 1280.5, "chip.cuda_cores: must be a whole number"),
        ("chip.tensor_cores", True, "chip.tensor_cores: must be a plain number"),
        ("memory.nominal_gib", 6144, "memory.nominal_gib: 6144 is outside"),
        ("memory.usable_gib", 5.75, "memory.usable_gib: must be [least, greatest]"),
        ("memory.usable_gib", [5.8, 5.7], "memory.usable_gib: the least"),
        ("memory.usable_gib", [5.8, 6.5], "memory.usable_gib: 6.5 is above nominal_gib"),
        ("memory.inline_ecc", "maybe", "memory.inline_ecc: 'maybe' is not one of none, enabled"),
        ("memory.bandwidth_gb_per_s", float("nan"), "memory.bandwidth_gb_per_s: nan is outside"),
        ("memory", [1, 2], "memory: must be a mapping"),
        ("vendor", "acme", "vendor: 'acme' is not one of nvidia, amd, intel"),
        ("id", "Lab Card", "id: 'Lab Card' does not have the form"),
        ("name", "", "name: '' does not have the form"),
        ("aliases", "labby", "aliases: must be a list"),
        ("aliases", [3090], "aliases: must be text, not 3090"),
        ("assumed_for", ["lab"], "assumed_for: must be a mapping"),
        ("context_overhead", {"mib": 100}, "context_overhead.kind: is missing"),
        ("sources.board", ..., "sources.board: is missing"),
        ("sources.chip", "", "sources.chip: '' does not have the form"),
        ("sources.colour", "x", "sources.colour: is not a key"),
        ("prices", [{"provider": "x", "date": "2026-01"}], "prices[0].usd_per_hour: give either"),
        ("confidence", "sure", "confidence: 'sure' is not one of high, medium, low"),
    ],
)
def test_bad_records_name_file_and_key(
    tmp_path: Path, record: dict[str, Any], path: str, value: object, says: str
) -> None:
    file = written(tmp_path, changed(record, path, value))
    with pytest.raises(HardwareDatabaseError) as caught:
        load_gpus(tmp_path)
    assert str(caught.value).startswith(f"{file}: {says}")


def test_key_in_another_unit_is_pointed_out(tmp_path: Path, record: dict[str, Any]) -> None:
    record["memory"]["bandwidth_tb_per_s"] = record["memory"].pop("bandwidth_gb_per_s")
    written(tmp_path, record)
    with pytest.raises(
        HardwareDatabaseError, match="bandwidth_gb_per_s: is missing; found 'bandwidth_tb_per_s'"
    ):
        load_gpus(tmp_path)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is empty"),
        (b"# nothing but a comment\n", "is empty"),
        (b"- a\n- b\n", "must be a mapping"),
        (b"just words", "must be a mapping"),
        (b"id: [broken\n", "is not valid YAML: line 2"),
        (b"id: x\n\tname: y\n", "is not valid YAML: line"),
        (b"id: a\nid: b\n", "is not valid YAML: line 2, column 1: the key 'id' is written twice"),
        (b"id: \xff\xfe\n", "is not UTF-8"),
        (b"id: !!python/object/apply:os.getcwd []\n", "is not valid YAML"),
        (b"id: a\n--- \nid: b\n", "is not valid YAML"),
        (b"id: " + b"[" * 8000 + b"]" * 8000, ""),
        (b"id: " + b"[" * 50_000 + b"]" * 50_000, "is too long: a record has at most 16384 bytes"),
        (b"#" + b"\xc3\xa9" * 9000, "is too long"),
    ],
    ids=[
        "empty", "comment", "list", "words", "broken", "tab", "twice", "latin", "python", "two",
        "deep", "huge", "cut in a letter",
    ],
)  # fmt: skip
def test_files_that_are_no_record(tmp_path: Path, content: bytes, says: str) -> None:
    file = tmp_path / "card.yaml"
    file.write_bytes(content)
    with pytest.raises(HardwareDatabaseError) as caught:
        load_gpus(tmp_path)
    assert str(caught.value).startswith(f"{file}: {says}")


def test_a_folder_called_like_a_record(tmp_path: Path) -> None:
    (tmp_path / "card.yaml").mkdir()
    with pytest.raises(HardwareDatabaseError, match=r"card\.yaml: cannot be read"):
        load_gpus(tmp_path)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("2026-13-45", "'2026-13-45' is not a valid timestamp; a text that looks like one"),
        ("2026-01-01 10:00:00+99:99", "'2026-01-01 10:00:00+99:99' is not a valid timestamp"),
        ("9" * 5000, f"'{'9' * 60}'... is not a valid int"),
        ("0x" + "f" * 5000, "... is not a valid int"),
        ("18446744073709551616", "'18446744073709551616' is not a valid int"),
        ("!!int abc", "'abc' is not a valid int"),
        ("!!int [1]", "line 2, column 8: expected a scalar node"),
        ("!!float abc", "'abc' is not a valid float"),
        ("!!bool maybe", "'maybe' is not a valid bool"),
        ("!!timestamp x", "'x' is not a valid timestamp"),
        ("{2026-13-45: 1}", "'2026-13-45' is not a valid timestamp"),
        ("[1, [2026-13-45]]", "'2026-13-45' is not a valid timestamp"),
        ("!!binary x", "failed to decode base64 data"),
    ],
)
def test_values_that_yaml_itself_cannot_read(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "card.yaml"
    file.write_text(f"id: x\nvalue: {text}\n")
    with pytest.raises(HardwareDatabaseError) as caught:
        load_gpus(tmp_path)
    assert str(caught.value).startswith(f"{file}: is not valid YAML: line 2, column ")
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (os.mkfifo, "it is a named pipe, not a file"),
        (lambda path: path.symlink_to("/dev/zero"), "it is a device, not a file"),
        (lambda path: path.symlink_to("/dev/stdin"), "cannot be read: it is a "),
        (lambda path: path.symlink_to("nowhere"), "No such file or directory"),
        (lambda path: path.symlink_to(path), "Too many levels of symbolic links"),
        (Path.mkdir, "it is a folder, not a file"),
    ],
)
def test_what_is_no_file_is_not_read(
    tmp_path: Path, make: Callable[[Path], object], says: str
) -> None:
    reading, writing = os.pipe()  # a stdin that never ends
    before = os.dup(0)
    os.dup2(reading, 0)
    try:
        make(tmp_path / "card.yaml")
        with pytest.raises(HardwareDatabaseError, match=r"card\.yaml: cannot be read: ") as caught:
            load_gpus(tmp_path)
    finally:
        os.dup2(before, 0)
        for descriptor in (before, reading, writing):
            os.close(descriptor)
    assert says in str(caught.value)


def test_a_link_to_a_record_is_read(tmp_path: Path, record: dict[str, Any]) -> None:
    (tmp_path / "elsewhere").mkdir()
    real = written(tmp_path / "elsewhere", record, "real.yaml")
    (tmp_path / "card.yaml").symlink_to(real)
    assert load_gpus(tmp_path).find(record["id"]).spec.id == record["id"]


@pytest.mark.parametrize("key", ["id", "aliases", "assumed_for"])
def test_two_records_with_one_name(tmp_path: Path, record: dict[str, Any], key: str) -> None:
    record["assumed_for"] = {"lab": ["t4"]}
    first = written(tmp_path, record, "a.yaml")
    other = {**record, "id": "other", "aliases": ["second"], "assumed_for": {"two": ["t4"]}}
    second = written(tmp_path, {**other, key: record[key]}, "b.yaml")
    with pytest.raises(HardwareDatabaseError) as caught:
        load_gpus(tmp_path)
    assert str(caught.value).startswith(f"{second}: {key}: ")
    assert str(first) in str(caught.value)


def test_user_folder_that_is_not_there_or_holds_nothing(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such folder"):
        load_gpus(tmp_path / "missing")
    with pytest.raises(UsageError, match=r"no \*\.yaml"):
        load_gpus(tmp_path)


def test_reading_cards_needs_neither_torch_nor_rich() -> None:
    code = (
        "import sys; from planner.hardware.database import load_gpus; load_gpus().find('t4'); "
        "print(sorted({'torch', 'rich', 'msgspec', 'click'} & set(sys.modules)))"
    )
    root = Path(__file__).resolve().parents[3]
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True
    )
    assert ran.stdout.strip() == "[]"
