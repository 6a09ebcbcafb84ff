"""The matrix products of a forward pass of a language model that is served, on one rank.

In: ServedModel, WeightFormat, ranks. Out: ServedProduct, alike ones together. Convention: a product
is (tokens, k) x (k, n); engines multiply query, key and value at once, and so both halves of the
wide part.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from planner.config.model_shapes import WeightShape
from planner.memory.kv_cache.facts import ServedModel
from planner.memory.serving.formats import WeightFormat
from planner.memory.serving.roles import Role, role_of
from planner.memory.serving.weights import rank_sides

_EXPERTS = frozenset({Role.EXPERT_UP, Role.EXPERT_DOWN})
_AT_ONCE = {
    Role.QUERY: "query, key, value", Role.KEY: "query, key, value", Role.VALUE: "query, key, value",
    Role.UP: "wide part", Role.EXPERT_UP: "wide part of experts",
}  # fmt: skip
_NO_PRODUCT = frozenset({Role.EMBEDDING, Role.SMALL, Role.PATCHES, Role.VISION})


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedProduct:
    """Alike products of a forward pass: `calls` of them, each with one weight of (k, n).

    `experts` weights are chosen from by each token (0: all tokens take the one weight); of the last
    tokens alone, `of_last`: the output layer.
    """

    role: Role
    n: int
    k: int
    calls: float
    bits: float
    """Bits of a weight, scales included."""
    experts: int = 0
    of_last: bool = False

    @property
    def weight_bytes(self) -> float:
        """Returns the bytes of the weights of one call, of all experts together."""
        return max(1, self.experts) * self.n * self.k * self.bits / 8


def model_products(
    model: ServedModel, weights: WeightFormat, ranks: int
) -> tuple[ServedProduct, ...]:
    """Returns the products of a forward pass of the language model on one of `ranks`."""
    found: dict[tuple[object, ...], ServedProduct] = {}
    for tensor in model.tensors:
        one = _product(model, weights, tensor, ranks)
        if one is None:
            continue
        key = (_AT_ONCE.get(one.role, tensor.name), one.k, one.calls, one.bits, one.experts)
        other = found.get(key)
        n = one.n if other is None else one.n + other.n
        found[key] = ServedProduct(
            role=one.role, n=n, k=one.k, calls=one.calls, bits=one.bits, experts=one.experts,
            of_last=one.of_last,
        )  # fmt: skip
    return (*found.values(), *_tied_head(model, ranks))


def _tied_head(model: ServedModel, ranks: int) -> Iterator[ServedProduct]:
    """Yields the output layer of a model whose embedding is its weight."""
    if model.is_pooled:
        return
    if not any(role_of(tensor) is Role.HEAD for tensor in model.tensors):
        yield ServedProduct(
            role=Role.HEAD, n=-(-model.vocabulary // ranks), k=model.hidden_size, calls=1,
            bits=16.0, of_last=True,
        )  # fmt: skip


def _product(
    model: ServedModel, weights: WeightFormat, tensor: WeightShape, ranks: int
) -> ServedProduct | None:
    role = role_of(tensor)
    if role in _NO_PRODUCT or len(tensor.shape) < 2:
        return None
    experts, calls = 0, float(tensor.count)
    if role in _EXPERTS:
        experts = tensor.shape[0] if len(tensor.shape) == 3 else model.experts
        calls = tensor.count if len(tensor.shape) == 3 else tensor.count / max(1, model.experts)
    n, k = rank_sides(model, tensor, role, ranks)
    bits = 32.0 if tensor.dtype == "float32" else weights.bits(role)
    return ServedProduct(
        role=role, n=n, k=k, calls=calls, bits=bits, experts=experts, of_last=role is Role.HEAD
    )
