"""Checks the caller's words on data, host and money; looks them up in the hardware database.

In: keyword options of planner.estimate() or of the command line. Out: JobConfig. Convention:
an option that was not given stays None; no host is assumed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from planner.cost.energy import NO_PUE, checked_pue
from planner.cost.price import HourlyPrice, parse_price
from planner.errors import UsageError
from planner.hardware.cpu_specs import CpuSpec
from planner.hardware.database import load_cpus, load_hosts
from planner.hardware.host_specs import HostSpec
from planner.input_pipeline.data_item import DataItem, parse_data
from planner.input_pipeline.host_budget import HostBudget
from planner.input_pipeline.loader import DEFAULT_PREFETCH_FACTOR, NO_WORKERS, Loader
from planner.machine.this_host import NAME as THIS_HOST
from planner.machine.this_host import this_host
from planner.units import parse_dataset_size, parse_memory

if TYPE_CHECKING:
    from planner.cost.catalogue import Catalogue

# Without a named host: enough for most cards, and few enough for most machines.
DEFAULT_WORKERS = 4
_MOST_WORKERS = 8  # on a named host: more only where they are requested
NAMES = (
    "data", "measure_data", "workers", "prefetch_factor", "pin_memory", "cpu", "host", "ram",
    "price", "prices", "dataset_size", "pue",
    "power_limit",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class JobConfig:
    """Holds the checked options. `measure_data` requests that the user's own data set is timed.

    `item` is None where no data were named. `machine` is the record of a host that was named with
    `host`. `core_like` names the core of `host.core_speed`; `prices` are rents by the
    id of a card; `power_limit_w` is of each card, None: as shipped; `notes` list the assumptions.
    """

    loader: Loader
    item: DataItem | None = None
    measure_data: bool = False
    host: HostBudget | None = None
    machine: HostSpec | None = None
    core_like: str | None = None
    memory_bytes_per_s: float | None = None
    ram_bytes: int | None = None
    price: HourlyPrice | None = None
    prices: Mapping[str, HourlyPrice] = field(default_factory=dict)
    dataset_samples: int | None = None
    pue: float = NO_PUE
    power_limit_w: float | None = None
    notes: tuple[str, ...] = ()

    @property
    def cards_of_host(self) -> tuple[tuple[str, int], ...]:
        """Returns the ids of the cards that the host comes with, each with its count."""
        return () if self.machine is None else self.machine.gpus


def speed_words(options: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Splits `options` into those for job_config and the others."""
    asked = {name: value for name, value in options.items() if name in NAMES}
    return asked, {name: value for name, value in options.items() if name not in NAMES}


def job_config(
    *,
    data: str | float | None = None,
    measure_data: bool = False,
    workers: int | str | None = None,
    prefetch_factor: int | None = None,
    pin_memory: bool = True,
    cpu: str | None = None,
    host: str | None = None,
    ram: str | int | None = None,
    price: str | None = None,
    prices: str | None = None,
    dataset_size: str | int | None = None,
    pue: float = NO_PUE,
    power_limit: float | None = None,
    hardware_db: Path | None = None,
) -> JobConfig:
    """Returns the JobConfig; `workers` is a number, or "none": the training process loads.

    Raises:
        UsageError: a value is not possible; a processor or host is unknown: names similar ones.
    """
    number = _workers(workers)
    _check_kinds(
        measure_data=measure_data, workers=number, prefetch_factor=prefetch_factor,
        pin_memory=pin_memory, cpu=cpu, host=host, price=price, prices=prices, pue=pue,
        power_limit=power_limit,
    )  # fmt: skip
    if data is not None and measure_data:
        raise UsageError(f"data {data!r} was given, and measure_data: say one of the two")
    if host is not None and cpu is not None:
        raise UsageError(f"host {host!r} has a processor of its own: leave cpu {cpu!r} out")
    if number == 0 and prefetch_factor is not None:
        raise UsageError("without workers nothing is prefetched: leave prefetch_factor out")
    if price is not None and prices is not None:
        raise UsageError(f"price {price!r} was given, and prices {prices!r}: say one of the two")
    checked_pue(pue)
    # Cheap checks come before the database is read and this machine is measured.
    ram_bytes = None if ram is None else parse_memory(ram, "ram")
    hourly = None if price is None else parse_price(price)
    rents = None if prices is None else _rents(prices)
    samples = None if dataset_size is None else parse_dataset_size(str(dataset_size))
    _loader(number, prefetch_factor, pin_memory, None)
    item = None if data is None else parse_data(str(data))
    found, notes = _host(host, cpu, hardware_db)
    budget = None if found is None else _budget(found, host or cpu or "", ram_bytes)
    if item is not None and budget is not None:
        item = parse_data(str(data), core_speed=budget.core_speed)
    return JobConfig(
        loader=_loader(number, prefetch_factor, pin_memory, budget),
        item=item,
        measure_data=measure_data,
        host=budget,
        machine=found if isinstance(found, HostSpec) else None,
        core_like=None if found is None else _cpu_of(found).name,
        memory_bytes_per_s=None if found is None else _memory_bytes_per_s(found),
        ram_bytes=ram_bytes if budget is None else (budget.ram_bytes or None),
        price=hourly,
        prices={} if rents is None else rents.prices,
        dataset_samples=samples,
        pue=pue,
        power_limit_w=power_limit,
        notes=notes if rents is None else (*notes, *rents.notes),
    )


def _rents(prices: str) -> Catalogue:
    from planner.cost.catalogue import catalogue  # loads readers of CSV and of archives

    return catalogue(prices)


def _workers(asked: int | str | None) -> int | None:
    """Returns torch's number of workers: 0 for the word "none"; refuses 0, a likely mistake."""
    if isinstance(asked, str):
        if asked.strip().lower() == NO_WORKERS:
            return 0
        raise UsageError(
            f"workers must be a whole number, or {NO_WORKERS!r} where the training process loads "
            f"the data itself, not {asked!r}"
        )
    if asked == 0 and not isinstance(asked, bool):
        raise UsageError(
            "0 workers: nobody prepares data beside the training. Give 1 or more, as in "
            "--workers 8; for a DataLoader with num_workers=0, whose batches are made between the "
            f"steps, say --workers {NO_WORKERS}"
        )
    return asked


_FLAGS = ("measure_data", "pin_memory")
_COUNTS = ("workers", "prefetch_factor")
_OPTIONAL_NUMBERS = ("power_limit",)
_TEXTS = ("cpu", "host", "price", "prices")


def _check_kinds(**given: object) -> None:
    """Checks the types of the values: a caller of the library may give wrong ones."""
    for name, value in given.items():
        if name in _FLAGS:
            is_right, wanted = isinstance(value, bool), "True or False"
        elif name in _COUNTS:
            is_right = value is None or (isinstance(value, int) and not isinstance(value, bool))
            wanted = "a whole number"
        elif name in _TEXTS:
            is_right, wanted = value is None or isinstance(value, str), "text"
        elif name in _OPTIONAL_NUMBERS and value is None:
            is_right, wanted = True, "a number"
        else:
            is_right = isinstance(value, (int, float)) and not isinstance(value, bool)
            wanted = "a number"
        if not is_right:
            raise UsageError(f"{name} must be {wanted}, not {value!r}")


def _host(
    host: str | None, cpu: str | None, hardware_db: Path | None
) -> tuple[HostSpec | CpuSpec | None, tuple[str, ...]]:
    if host is not None:
        if host.strip().lower() == THIS_HOST:
            spec = this_host(load_cpus(hardware_db))
            return spec, () if spec.note is None else (f"this machine: {spec.note}",)
        match = load_hosts(hardware_db).find(host)
        return match.spec, () if match.note is None else (match.note,)
    if cpu is not None:
        processor = load_cpus(hardware_db).find(cpu)
        return processor.spec, () if processor.note is None else (processor.note,)
    return None, ()


def _cpu_of(found: HostSpec | CpuSpec) -> CpuSpec:
    return found.cpu if isinstance(found, HostSpec) else found


def _memory_bytes_per_s(found: HostSpec | CpuSpec) -> float | None:
    """Returns the bandwidth of the memory: of a host, the part that its cores are of the socket."""
    cpu = _cpu_of(found)
    whole = cpu.memory_bandwidth_bytes_per_s
    if whole is None or not isinstance(found, HostSpec):
        return whole
    return whole * found.physical_cores / cpu.cores


def _budget(found: HostSpec | CpuSpec, requested: str, ram_bytes: int | None) -> HostBudget:
    """Returns the budget: of a processor named alone, all cores; RAM is 0 where it is not given."""
    cpu = _cpu_of(found)
    if isinstance(found, HostSpec):
        return HostBudget(
            requested=requested,
            cores=found.physical_cores,
            threads=found.vcpus,
            core_speed=cpu.core_speed,
            ram_bytes=found.ram_bytes if ram_bytes is None else ram_bytes,
            shm_bytes=found.shm_bytes,
            storage_bytes_per_s=found.storage_bytes_per_s,
            pcie_generation=found.pcie_generation,
            pcie_lanes=found.pcie_lanes,
        )
    return HostBudget(
        requested=requested,
        cores=float(cpu.cores),
        threads=cpu.threads,
        core_speed=cpu.core_speed,
        ram_bytes=ram_bytes or 0,
        shm_bytes=None,
        storage_bytes_per_s=None,
        pcie_generation=cpu.pcie_generation,
        pcie_lanes=None,
    )


def _loader(
    workers: int | None, prefetch_factor: int | None, pin_memory: bool, host: HostBudget | None
) -> Loader:
    if workers is None:
        there = DEFAULT_WORKERS if host is None else max(1, int(host.cores))
        workers = min(there, _MOST_WORKERS)
    ahead = DEFAULT_PREFETCH_FACTOR if prefetch_factor is None else prefetch_factor
    return Loader(workers=workers, prefetch_factor=ahead, pin_memory=pin_memory)
