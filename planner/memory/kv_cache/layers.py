"""What the layers of a model keep of the tokens that they have read, in bytes.

In: shapes of a layer, the ranks of a tensor-parallel group, bytes of an element. Out: bytes of a
token or of a request, for one layer on one rank. Convention: heads are divided over the ranks; with
fewer heads than ranks each rank has one, and a latent is on every rank whole.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class LayerKind(str, Enum):
    """What a layer keeps."""

    FULL = "full"
    """Keys and values of every token."""
    WINDOW = "window"
    """Keys and values of the last tokens alone: a sliding window, or a chunk."""
    LATENT = "latent"
    """One compressed vector for each token (multi-head latent attention)."""
    STATE = "state"
    """A state of fixed size for each request: Mamba, gated delta net."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StateShape:
    """The state of a layer for one request: that of a convolution, and that of the recurrence."""

    conv_channels: int
    conv_tokens: int
    """Tokens that the convolution looks back: its width less one."""
    heads: int
    head_elements: int
    """Elements of the recurrent state of one head."""
    head_element_bytes: int | None
    """Bytes of each; None: those of the model's own dtype."""
    is_delta_net: bool = False
    """Whether it is that of a gated delta net; else of Mamba-2."""

    def rank_bytes(self, ranks: int, element_bytes: int) -> int:
        """Returns the bytes of one request on one of `ranks`; `element_bytes`: the model's dtype.

        vLLM 0.33.0, model_executor/layers/mamba/mamba_utils.py, gated_delta_net_state_shape and
        mamba2_state_shape.
        """
        conv = self.conv_channels // ranks * self.conv_tokens * element_bytes
        each = self.head_element_bytes or element_bytes
        return conv + self.heads // ranks * self.head_elements * each


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheLayers:
    """Layers that keep the same. Of FULL and WINDOW: heads and widths; of LATENT: its width."""

    kind: LayerKind
    count: int
    kv_heads: int = 0
    key_width: int = 0
    value_width: int = 0
    window: int | None = None
    """Tokens that a WINDOW layer looks back."""
    state: StateShape | None = None

    def rank_heads(self, ranks: int) -> int:
        """Returns the heads of keys and values on one of `ranks`."""
        return self.kv_heads if self.kind is LayerKind.LATENT else max(1, self.kv_heads // ranks)

    def token_bytes(self, ranks: int, element_bytes: float) -> int:
        """Returns the bytes of one token in one layer on one of `ranks`; 0 for a STATE."""
        if self.kind is LayerKind.STATE:
            return 0
        width = self.key_width + self.value_width
        return round(self.rank_heads(ranks) * width * element_bytes)

    def kept_tokens(self, length: int) -> int:
        """Returns the tokens of a sequence of this length that the layer keeps."""
        if self.kind is LayerKind.STATE:
            return 0
        return length if self.window is None else min(length, self.window)


def request_bytes(
    layers: tuple[CacheLayers, ...],
    length: int,
    *,
    ranks: int,
    element_bytes: float,
    state_element_bytes: int = 2,
) -> int:
    """Returns the bytes that all layers keep of one request of `length` tokens, without blocks."""
    total = 0
    for layer in layers:
        kept = layer.kept_tokens(length) * layer.token_bytes(ranks, element_bytes)
        if layer.state is not None:
            kept += layer.state.rank_bytes(ranks, state_element_bytes)
        total += layer.count * kept
    return total
