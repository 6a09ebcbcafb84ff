"""Identifies the processor of this machine from /proc/cpuinfo.

In: the text of /proc/cpuinfo. Out: CpuIdentity: a name as the database writes it, the vendor and
the architecture. Convention: "unknown" if the file does not say.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from planner.hardware.cpu_specs import CpuVendor

CPUINFO = Path("/proc/cpuinfo")
UNKNOWN = "unknown"

# Family, first and last model: AMD, Processor Programming References
# (https://www.amd.com/en/search/documentation/hub.html); 23 is 0x17, 25 is 0x19, 26 is 0x1a.
_AMD = (
    (23, 0x30, 0xFF, "zen2"),
    (25, 0x00, 0x0F, "zen3"),
    (25, 0x10, 0x1F, "zen4"),
    (25, 0x20, 0x5F, "zen3"),
    (25, 0x60, 0xAF, "zen4"),
    (26, 0x00, 0xFF, "zen5"),
)
# Models of family 6: arch/x86/include/asm/intel-family.h of Linux. Skylake servers and Cascade
# Lake share one model and one core.
_INTEL = {
    0x4F: "broadwell", 0x56: "broadwell", 0x55: "cascade-lake",
    0x6A: "ice-lake", 0x6C: "ice-lake", 0x8F: "sapphire-rapids", 0xCF: "emerald-rapids",
    0x97: "alder-lake", 0x9A: "alder-lake", 0xB7: "raptor-lake", 0xBA: "raptor-lake",
}  # fmt: skip
# Parts of implementer 0x41: arch/arm64/include/asm/cputype.h of Linux.
_ARM = {0xD0C: "neoverse-n1", 0xD40: "neoverse-v1", 0xD4F: "neoverse-v2"}

_NOISE = re.compile(
    r"\((?:R|TM)\)|\bCPU\b|\bProcessor\b|@.*|\b\d+-Cores?\b|^\d+th Gen\b", re.IGNORECASE
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CpuIdentity:
    """The first processor in /proc/cpuinfo. `clock_hz` is its clock at the time of reading."""

    name: str | None
    vendor: CpuVendor
    architecture: str
    clock_hz: int | None


def cpu_identity(cpuinfo: Path = CPUINFO) -> CpuIdentity:
    """Reads the first processor; all is unknown if the file cannot be read."""
    try:
        text = cpuinfo.read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    values: dict[str, str] = {}
    for line in text.partition("\n\n")[0].splitlines():
        key, _, value = line.partition(":")
        values[key.strip()] = value.strip()
    vendor = {"AuthenticAMD": CpuVendor.AMD, "GenuineIntel": CpuVendor.INTEL}.get(
        values.get("vendor_id", ""), CpuVendor.UNKNOWN
    )
    megahertz = _number(values.get("cpu MHz"))
    return CpuIdentity(
        name=plain_name(values.get("model name", "")) or None,
        vendor=vendor,
        architecture=_architecture(values, vendor),
        clock_hz=None if megahertz is None else round(megahertz * 1e6),
    )


def plain_name(model_name: str) -> str:
    """Returns a model name without trade marks, core counts and clocks: they differ by machine."""
    return " ".join(_NOISE.sub(" ", model_name).split())


def _architecture(values: dict[str, str], vendor: CpuVendor) -> str:
    if "CPU part" in values and values.get("CPU implementer") == "0x41":
        return _ARM.get(int(values["CPU part"], 16), UNKNOWN)
    family, model = (_number(values.get(key)) for key in ("cpu family", "model"))
    if family is None or model is None:
        return UNKNOWN
    if vendor is CpuVendor.INTEL and family == 6:
        return _INTEL.get(int(model), UNKNOWN)
    if vendor is CpuVendor.AMD:
        for known_family, first, last, name in _AMD:
            if family == known_family and first <= model <= last:
                return name
    return UNKNOWN


def _number(text: str | None) -> float | None:
    try:
        return float(text or "")
    except ValueError:
        return None
