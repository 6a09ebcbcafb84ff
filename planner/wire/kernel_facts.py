"""What decides the kernel of a call beyond the shapes of its tensors.

In: nothing. Out: AttentionFacts, ConvolutionFacts, LoopFacts. Convention: lengths and windows in
tokens, strides and paddings in elements, one figure for each dimension of the image.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionFacts:
    """A fused attention of a call."""

    backend: str
    """The kernel's family, as in the operator's name: flash, efficient, cudnn."""
    batch: int
    """Sequences; of packed sequences their number."""
    query_heads: int
    """Heads of the queries."""
    key_heads: int
    """Heads of keys and values: fewer than those of the queries in grouped-query attention."""
    queries: int
    """Queries of one sequence; of packed sequences the longest."""
    keys: int
    """Keys of one sequence; of packed sequences the longest."""
    head_width: int
    """Elements of a head of queries and keys."""
    value_width: int
    """Elements of a head of values."""
    is_causal: bool
    """Whether a query sees only keys up to its own place."""
    window: int | None = None
    """Keys to the left that a query sees; None: all."""
    dropout: float = 0.0
    """Share of the weights that is set to zero."""
    has_bias: bool = False
    """Whether a mask or a bias is added to the weights."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvolutionFacts:
    """A convolution, or both of its gradients."""

    stride: tuple[int, ...]
    """Steps of the window."""
    padding: tuple[int, ...]
    """Elements added at each edge."""
    dilation: tuple[int, ...]
    """Distance of the elements of the window."""
    groups: int
    """Parts of the channels that are convolved alone."""
    is_transposed: bool
    """Whether it is a transposed convolution."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopFacts:
    """A kernel that was generated for loops over elements: Triton's, by torch.compile or by hand.

    Both figures are 0 where the kernel does not say them.
    """

    elements: int = 0
    """Elements that the loops go over."""
    reduced: int = 0
    """Those of them that one sum or maximum takes; 1: there is none."""
