"""Says why an estimate does not keep its limits: what is over, by how much, and what takes it.

In: an Estimate, Limits. Out: the message of a failed test, or None. Convention: plain text, one
line for each limit, then the largest tensors and modules at the peak.
"""

from __future__ import annotations

from pathlib import Path

from planner.config.limits import Limits
from planner.memory.peak import Held
from planner.preflight.source_names import source_name
from planner.render.outside_text import shown
from planner.results.budget import CardCheck, card_check
from planner.results.card_figures import figures_of
from planner.results.device_estimate import DeviceEstimate
from planner.results.estimate import Estimate
from planner.units import format_bytes, format_percent

_TENSORS = 5
_MODULES = 5
_DEPTH = 2


def failure(found: Estimate, limits: Limits) -> str | None:
    """Returns the message; None if the step fits on every card and all limits hold."""
    root = Path.cwd()
    parts = []
    for card in found.gpus:
        figures = figures_of(card, lambda source: source_name(source, root))
        checked = card_check(card.requested, figures, limits, None, is_updated=False)
        if checked.broken:
            parts.append(_of_card(found.target, card, checked, root))
    if not parts:
        return None
    return "\n".join([*parts, *(f"warning: {shown(text)}" for text in found.warnings)])


def _of_card(target: str, card: DeviceEstimate, checked: CardCheck, root: Path) -> str:
    name = f"{shown(target)} on {card.requested}"
    lines = [f"{name}: {limit.sentence}" for limit in checked.broken]
    if card.breakdown is None:
        return "\n".join([*lines, "what takes it is not known: the run could not be recorded"])
    whole = card.breakdown.total()
    lines.append(f"largest tensors at the peak, of {format_bytes(whole)} in tensors:")
    lines += [f"  {_tensor(block, root)}" for block in card.breakdown.largest(_TENSORS)]
    lines.append("largest modules at the peak:")
    modules = list(card.breakdown.by_module(_DEPTH).items())[:_MODULES]
    lines += [
        f"  {format_bytes(size):>9}  {format_percent(size, whole):>5}  "
        f"{shown(module) or '(outside of any submodule)'}"
        for module, size in modules
    ]
    return "\n".join(lines)


def _tensor(block: Held, root: Path) -> str:
    origin = block.origin
    place = source_name(origin.source, root).place if origin.source else ""
    name = ".".join(part for part in (origin.module, origin.tensor) if part)
    words = (block.category.value, name, origin.operator, place)
    text = "  ".join(shown(word) for word in words if word)
    return f"{format_bytes(block.block_bytes):>9}  {text}"
