"""What saving and loading the whole state of a job on several GPUs takes of a card and of RAM.

In: figures. Out: FullState, its part of the JSON document, sentences. Convention: sizes of the card
are allocated bytes of the rank with the highest peak, with all else that it holds at that time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from planner.units import format_bytes

if TYPE_CHECKING:
    from planner.results.schema.memory import FullStateDocument


@dataclass(frozen=True, slots=True, kw_only=True)
class FullState:
    """PyTorch's get_state_dict and set_model_state_dict with full_state_dict=True."""

    is_divided: bool
    """Whether ranks hold parts of the model; else each loads all of it into its own RAM."""
    model_bytes: int
    """The state of the whole model, in the RAM of rank 0 while it is saved or loaded."""
    optimizer_bytes: int | None
    """The state of the whole optimizer, likewise; None: it has none, or that is not known."""
    saving_bytes: int
    """Peak on the card with cpu_offload=True, after a step."""
    saving_on_card_bytes: int
    """Peak on the card without it, of the model alone."""
    saving_all_on_card_bytes: int | None
    """Peak on the card without it, with the optimizer; None: as `optimizer_bytes`."""
    loading_bytes: int
    """Peak on the card with broadcast_from_rank0=True, before there is an optimizer."""
    loading_each_bytes: int
    """Peak on the card where each rank has the whole model in its RAM."""
    capacity_bytes: int
    """Memory that PyTorch's allocator can have on the card."""

    @property
    def fits(self) -> bool:
        """Returns whether the usual ways to save and to load fit on the card."""
        return max(self.saving_bytes, self.loading_bytes) <= self.capacity_bytes

    @property
    def fits_on_card(self) -> bool:
        """Returns whether the whole model fits on each card while it is saved."""
        return self.saving_on_card_bytes <= self.capacity_bytes

    @property
    def rank_0_bytes(self) -> int:
        """Returns the RAM of rank 0 for the states of model and optimizer together."""
        return self.model_bytes + (self.optimizer_bytes or 0)

    def to_dict(self) -> FullStateDocument:
        """Returns the JSON object `full_state`."""
        return {
            "is_divided": self.is_divided,
            "model_bytes": self.model_bytes,
            "optimizer_bytes": self.optimizer_bytes,
            "saving_bytes": self.saving_bytes,
            "saving_on_card_bytes": self.saving_on_card_bytes,
            "saving_all_on_card_bytes": self.saving_all_on_card_bytes,
            "loading_bytes": self.loading_bytes,
            "loading_each_bytes": self.loading_each_bytes,
            "capacity_bytes": self.capacity_bytes,
            "fits": self.fits,
            "fits_on_card": self.fits_on_card,
        }


def saving_words(state: FullState, peak_bytes: int) -> str:
    """Returns the peak of saving, compared with that of the step."""
    than = "below" if state.saving_bytes <= peak_bytes else "above"
    return f"{format_bytes(state.saving_bytes)}, {than} the step's peak" + _room(
        state, state.saving_bytes
    )


def on_card_words(state: FullState) -> str:
    """Returns the peak of saving without cpu_offload; "" where each card has the whole anyway."""
    if not state.is_divided:
        return ""
    model_bytes, all_bytes = state.saving_on_card_bytes, state.saving_all_on_card_bytes
    text = f"{format_bytes(model_bytes)}{_room(state, model_bytes)}"
    if all_bytes is None:
        return text
    room = _room(state, all_bytes) if state.fits_on_card else ""
    return f"{text}; {format_bytes(all_bytes)} with the optimizer{room}"


def ram_words(state: FullState) -> str:
    """Returns the RAM that rank 0 needs for what is saved."""
    text = format_bytes(state.model_bytes)
    if not state.optimizer_bytes:
        return text
    return f"{text}, {format_bytes(state.rank_0_bytes)} with the optimizer"


def loading_words(state: FullState) -> str:
    """Returns the peak of loading, and who needs RAM for it."""
    who = "on rank 0" if state.is_divided else "on each rank"
    return _loading(state, state.loading_bytes, who)


def loading_each_words(state: FullState) -> str:
    """Returns the peak of loading the whole model in each rank; "" where that is the usual way."""
    return _loading(state, state.loading_each_bytes, "on each rank") if state.is_divided else ""


def _loading(state: FullState, peak_bytes: int, who: str) -> str:
    ram = f"{format_bytes(state.model_bytes)} of RAM {who}"
    return f"{format_bytes(peak_bytes)}{_room(state, peak_bytes)}, and {ram}"


def _room(state: FullState, peak_bytes: int) -> str:
    return "" if peak_bytes <= state.capacity_bytes else " (does not fit)"
