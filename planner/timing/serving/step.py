"""Times one step of an engine that serves: its products, attention, small kernels, messages, host.

In: ServedStep, what it computes for. Out: StepTime. Convention: kernels run one after another in a
CUDA graph; a step with parts of prompts is launched layer by layer, which takes the CPU time of its
own, and the longer of both counts.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from planner.hardware.specs import GpuSpec
from planner.memory.kv_cache.facts import ServedModel
from planner.memory.serving.formats import WeightFormat
from planner.timing.kernels import KernelKind, Pass
from planner.timing.measured.streams import stream_time
from planner.timing.rates import memory_rate
from planner.timing.serving.attention import (
    Heads,
    Prompts,
    reading_attention,
    writing_attention,
)
from planner.timing.serving.host_terms import HostTerms
from planner.timing.serving.model_products import ServedProduct
from planner.timing.serving.operands import Timed, expert_product_time, served_product_time
from planner.timing.serving.reduces import reduce_s
from planner.timing.topology import Topology

_HALF_BYTES = 2
# Kernels of a layer besides its products and its attention, each over rows of so many hidden sizes
# read and written: two norms with the sum of the residual, positions with the write of keys and
# values, the product of both halves of the wide part.
_NORMS = 2
_LOGIT_BYTES = 4 * 4  # to float32, the greatest, the softmax, the draw: 4 passes over 4 bytes
_SAMPLING_KERNELS = 6
_CACHE_KERNELS = 2  # positions, and the write of keys and values
_ROUTING_KERNELS = 4  # the choice of experts, their order, the sum of their results
_SCALING_KERNELS = 2  # of activations to 8 bits, those that are not in other kernels
_REDUCES = 2  # of a layer, after attention and after the wide part


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedStep:
    """What a step computes: a token for each of `requests` with `context`, and parts of prompts."""

    requests: int = 0
    context: float = 0.0
    """Tokens in the cache of each request, in the mean."""
    prompts: Prompts | None = None
    ended: int = 0
    """Prompts that end in the step, so that their first token is drawn."""

    @property
    def rows(self) -> int:
        """Returns the tokens of the step."""
        return self.requests + (0 if self.prompts is None else self.prompts.rows)


@dataclass(frozen=True, slots=True, kw_only=True)
class StepTime:
    """Seconds of a step by part. `host_s` is not hidden behind the card."""

    products_s: float
    attention_s: float
    others_s: float
    messages_s: float
    host_s: float
    spread: float
    """Standard deviation of the logarithm of measured over predicted times of its kernels."""

    @property
    def card_s(self) -> float:
        """Returns the seconds that the card is busy."""
        return self.products_s + self.attention_s + self.others_s + self.messages_s

    @property
    def total_s(self) -> float:
        """Returns the seconds of the step."""
        return self.card_s + self.host_s


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Stepper:
    """A served model on its cards: gives the time of steps."""

    model: ServedModel
    weights: WeightFormat
    ranks: int
    kv_element_bytes: float
    card: GpuSpec
    topology: Topology | None
    host: HostTerms
    products: tuple[ServedProduct, ...]
    """Of `model_products`."""
    has_graphs: bool = True
    """Whether steps without prompts are in CUDA graphs."""
    known: dict[ServedStep, StepTime] = field(default_factory=dict, repr=False)
    """Steps that were timed, without the host's part."""

    def time(self, step: ServedStep) -> StepTime:
        """Returns the time of a step."""
        found = self.known.get(step)
        if found is None:
            found = self.known[step] = self._on_card(step)
        launch_s = 0.0
        if step.prompts is not None or not self.has_graphs:
            launch_s = max(0.0, self.host.layer_s * self.model.num_layers - found.card_s)
        host_s = launch_s + self.host.step_s + self.host.request_s * step.requests
        return replace(found, host_s=host_s)

    def _on_card(self, step: ServedStep) -> StepTime:
        products, attention = self._products(step), self._attention(step)
        parts = (products, attention)
        return StepTime(
            products_s=products.seconds,
            attention_s=attention.seconds,
            others_s=self._others_s(step),
            messages_s=self._messages_s(step),
            host_s=0.0,
            spread=sum(one.seconds * one.spread for one in parts)
            / sum(one.seconds for one in parts),
        )

    def _products(self, step: ServedStep) -> Timed:
        found = []
        last = step.requests + step.ended
        for product in self.products:
            rows = last if product.of_last else step.rows
            if not rows:
                continue
            if product.experts:
                time = expert_product_time(
                    product, rows, self.model.experts_per_token, self.weights.name, self.card
                )
            else:
                time = served_product_time(product, rows, self.weights.name, self.card)
            found.append((product.calls, time))
        return _sum(found)

    def _attention(self, step: ServedStep) -> Timed:
        heads = Heads(
            queries=max(1, self.model.attention_heads // self.ranks),
            ranks=self.ranks,
            element_bytes=self.kv_element_bytes,
            is_causal=not self.model.is_encoder,
        )
        found = []
        for layer in self.model.layers:
            if step.requests:
                time = writing_attention(layer, step.requests, step.context, heads, self.card)
                found.append((float(layer.count), time))
            if step.prompts is not None:
                time = reading_attention(layer, step.prompts, heads, self.card)
                found.append((float(layer.count), time))
        return _sum(found)

    def _others_s(self, step: ServedStep) -> float:
        model, rows = self.model, step.rows
        hidden = rows * model.hidden_size * _HALF_BYTES
        wide = model.experts_per_token * model.expert_size if model.experts else (
            model.intermediate_size
        )  # fmt: skip
        norm = stream_time(
            KernelKind.NORM, Pass.FORWARD, self.card, moved_bytes=4 * hidden,
            columns=model.hidden_size, element_bytes=_HALF_BYTES,
        )  # fmt: skip
        fixed_s = 2e-6 if norm is None else norm.fixed_s
        rate = memory_rate(self.card)
        norm_s = fixed_s + 4 * hidden / rate if norm is None else norm.total_s
        kernels = _CACHE_KERNELS + 1 + (_ROUTING_KERNELS if model.experts else 0)
        if self.weights.bits_of_products <= 8:
            kernels += _SCALING_KERNELS
        moved = 4 * hidden + 3 * rows * wide * _HALF_BYTES / self.ranks
        layer_s = _NORMS * norm_s + kernels * fixed_s + moved / rate
        drawn = 0 if model.is_pooled else step.requests + step.ended
        logits = drawn * model.vocabulary * _LOGIT_BYTES
        return model.num_layers * layer_s + _SAMPLING_KERNELS * fixed_s + logits / rate

    def _messages_s(self, step: ServedStep) -> float:
        if self.topology is None:
            return 0.0
        size = step.rows * self.model.hidden_size * _HALF_BYTES
        each_s = reduce_s(size, self.ranks, self.card, self.topology)
        ended = 0 if self.model.is_pooled else step.requests + step.ended
        drawn = ended * self.model.vocabulary * _HALF_BYTES
        gathered_s = reduce_s(drawn / 2, self.ranks, self.card, self.topology)
        return (_REDUCES * self.model.num_layers + 1) * each_s + gathered_s


def _sum(times: list[tuple[float, Timed]]) -> Timed:
    """Returns the sum of kernels; their errors go together, as those of one table do."""
    seconds = sum(calls * one.seconds for calls, one in times)
    spread = sum(calls * one.seconds * one.spread for calls, one in times)
    source = max(times, key=lambda one: one[0] * one[1].seconds)[1].source
    return Timed(seconds=seconds, source=source, spread=spread / seconds)
