"""The requests of a step as a table: CSV, and Parquet where pyarrow is installed.

In: Timeline. Out: text, bytes. Convention: a row for each request, in order; sizes are bytes,
`allocated_bytes` and `reserved_bytes` are those after it. The category, module, tensor, operator
and source of a free are those of the block. An empty cell is not known, or there is none.
"""

from __future__ import annotations

from collections.abc import Iterator

from planner.errors import UnsupportedPlatformError
from planner.memory.timeline import Timeline
from planner.render.outside_text import shown
from planner.results.csv_form import Cell, csv_text
from planner.wire.trace import AllocationEvent, EventKind, Origin

_NUMBERS = (
    "index",
    "step",
    "block",
    "stream",
    "size_bytes",
    "change_bytes",
    "allocated_bytes",
    "reserved_bytes",
)
COLUMNS = (
    "index",
    "step",
    "phase",
    "kind",
    "block",
    "stream",
    "size_bytes",
    "change_bytes",
    "allocated_bytes",
    "reserved_bytes",
    "category",
    "module",
    "tensor",
    "operator",
    "source",
)


def csv(timeline: Timeline) -> str:
    """Returns the requests as CSV; a text with control characters has escapes for them."""
    return csv_text(COLUMNS, _rows(timeline))


def parquet(timeline: Timeline) -> bytes:
    """Returns the requests as a Parquet file, with the columns of `csv`.

    Raises:
        UnsupportedPlatformError: pyarrow is not installed.
    """
    try:
        import pyarrow
        from pyarrow.parquet import write_table
    except ImportError:
        raise UnsupportedPlatformError(
            "Parquet needs pyarrow, which is not installed: pip install 'vram-planner[parquet]'; "
            "--format csv has the same columns and needs nothing"
        ) from None
    types = {name: pyarrow.int64() if name in _NUMBERS else pyarrow.string() for name in COLUMNS}
    columns: dict[str, list[Cell]] = {name: [] for name in COLUMNS}
    for row in _rows(timeline):
        for name, value in row.items():
            columns[name].append(None if value == "" else value)
    table = pyarrow.table(columns, schema=pyarrow.schema(list(types.items())))
    written = pyarrow.BufferOutputStream()
    write_table(table, written)
    return bytes(written.getvalue().to_pybytes())


def _rows(timeline: Timeline) -> Iterator[dict[str, Cell]]:
    allocated, reserved = timeline.allocated_bytes, timeline.reserved_bytes
    owners: dict[int, AllocationEvent] = {}
    for index, event in enumerate(timeline.events):
        has_block = event.kind is not EventKind.EMPTY_CACHE
        if event.kind is EventKind.ALLOC:
            owners[event.block] = event
        owner = owners.get(event.block) if has_block else None
        origin = Origin() if owner is None else timeline.origins[owner.origin]
        yield {
            "index": index,
            "step": event.step,
            "phase": event.phase.value,
            "kind": event.kind.value,
            "block": event.block if has_block else None,
            "stream": event.stream if has_block else None,
            "size_bytes": event.size_bytes if has_block else None,
            "change_bytes": timeline.changes_bytes[index],
            "allocated_bytes": allocated[index],
            "reserved_bytes": reserved[index] if reserved else None,
            "category": None if owner is None else owner.category.value,
            "module": shown(origin.module),
            "tensor": shown(origin.tensor),
            "operator": shown(origin.operator),
            "source": shown(origin.source),
        }
