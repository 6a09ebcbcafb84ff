"""A Verification as tables for people, made with rich.

In: Verification. Out: a renderable. Convention: plain ASCII, rounded sizes; the JSON has the
bytes.
"""

from __future__ import annotations

from collections.abc import Callable

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from planner.memory.probe import is_about_memory
from planner.render.terminal.heading import after_backward, weight_words
from planner.render.terminal.layout import closing, verdict_lines, warning_line
from planner.results.verification import DeviceKind, ProbeRecord, Verification, relative_error
from planner.units import format_bytes

_GAP = 2  # blanks between two columns
_NOTHING = "-"
_DETAIL = 200  # characters
_KINDS = {
    DeviceKind.PHYSICAL: "physical GPU",
    DeviceKind.EMULATED: "emulated card: PyTorch's allocator and its out-of-memory error, "
    "kernels that do nothing",
    DeviceKind.CPU: "CPU",
}


def _seconds(value: float) -> str:
    return f"{value * 1000:.1f} ms" if value < 1 else f"{value:.2f} s"


_ROWS: tuple[tuple[str, str, Callable[..., str]], ...] = (
    ("largest batch", "max_batch_size", str),
    ("peak allocated", "peak_allocated_bytes", format_bytes),
    ("peak reserved", "peak_reserved_bytes", format_bytes),
    ("context overhead", "context_overhead_bytes", format_bytes),
    ("device total", "device_total_bytes", format_bytes),
    ("step time", "step_s", _seconds),
)
_IN_VERDICT = ("max_batch_size", "device_total_bytes")


def render(verification: Verification, *, verbose: bool = False) -> RenderableType:
    """Returns the report: verdict, the run, both sides, the probes; notes if `verbose`."""
    sections = (
        ("not confirmed", verification.complaints),
        ("bound", (verification.bound,) if verification.bound else ()),
    )
    return Group(
        verdict_lines(_verdict(verification)),
        Text(),
        _heading(verification),
        Text(),
        _sides(verification),
        Text(),
        _probes(verification),
        *closing(sections, verification, verbose=verbose),
    )


def _heading(verification: Verification) -> RenderableType:
    device, config, versions = verification.device, verification.config, verification.versions
    weights = weight_words(config, verification.weight_dtypes)
    optimizer = [f"optimizer {verification.optimizer}"] if verification.optimizer else []
    beside = after_backward(config.clip_grad_norm, config.ema)
    lines = [
        ", ".join((config.mode.value, weights, *optimizer, *beside)),
        f"{device.name} with {format_bytes(device.memory_bytes)}, {_KINDS[device.kind]}",
    ]
    if device.limit:
        lines.append(f"limit: {device.limit}")
    driver = f", driver {device.driver}" if device.driver else ""
    lines.append(f"torch {versions.torch}{driver}, planner {versions.planner}")
    return Group(Text(verification.target, style="bold"), *map(Text, lines))


def _sides(verification: Verification) -> Table:
    table = _table("", "predicted", "measured", "error")
    errors = verification.errors()
    for title, name, formatted in _ROWS:
        sides = [getattr(side, name) for side in (verification.predicted, verification.measured)]
        if sides == [None, None]:
            continue
        error = errors[name]
        cells = [_NOTHING if value is None else formatted(value) for value in sides]
        table.add_row(title, *cells, _NOTHING if error is None else f"{error:+.2%}")
    predicted = dict(verification.predicted_categories)
    for name, measured in verification.measured_categories:
        if measured or predicted.get(name):
            error = relative_error(predicted.get(name, 0), measured)
            cells = [format_bytes(predicted.get(name, 0)), format_bytes(measured)]
            table.add_row(f"- {name}", *cells, _NOTHING if error is None else f"{error:+.2%}")
    if verification.max_batch_of_all_ranks is not None:
        table.add_row("of all ranks", "", str(verification.max_batch_of_all_ranks), "")
    return table


def _probes(verification: Verification) -> Table:
    table = _table("probe", "batch", "ended", "device total", "seconds", "")
    for number, probe in enumerate(verification.probes, start=1):
        held = probe.peak_device_bytes
        table.add_row(
            str(number),
            str(probe.batch_size),
            probe.outcome.value,
            _NOTHING if held is None else format_bytes(held),
            f"{probe.seconds:.1f}",
            _short(probe),
        )
    return table


def _short(probe: ProbeRecord) -> str:
    """Returns the cause of its end, if the outcome is not clear enough; the JSON has all of it."""
    if is_about_memory(probe.outcome):
        return ""
    return probe.detail[:_DETAIL]


def _table(*titles: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), header_style="bold")
    for title in titles:
        table.add_column(title, overflow="fold")
    return table


def _verdict(verification: Verification) -> list[tuple[str, Text]]:
    """Returns whether the prediction is confirmed, with its two main figures on both sides."""
    if not verification.is_confirmed:
        text = Text("not confirmed", style="bold red")
    elif verification.predicted.max_batch_size is None:
        text = Text("measured; nothing was predicted", style="bold")
    else:
        text = Text("confirmed", style="bold green")
    for title, name, formatted in _ROWS:
        if name in _IN_VERDICT and getattr(verification.measured, name) is not None:
            text.append(f"; {title} {_both(verification, name, formatted)}", "not bold default")
    return [(verification.device.name, text), *warning_line(verification)]


def _both(verification: Verification, name: str, formatted: Callable[..., str]) -> str:
    measured, predicted = (
        getattr(side, name) for side in (verification.measured, verification.predicted)
    )
    more = " or more" if name == "max_batch_size" and verification.bound else ""
    text = f"{formatted(measured)}{more} measured"
    error = verification.errors()[name]
    if predicted is not None:
        text += f", {formatted(predicted)} predicted"
    return text if error is None else f"{text} ({error:+.2%})"
