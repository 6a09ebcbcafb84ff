"""Checks the options that make a step smaller against the other options of the step.

In: the options of a step. Out: an error, or nothing. Convention: words of the vocabularies are
compared as text, because step.py imports this module.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Protocol

from planner.config.option_words import option_of
from planner.config.parallel import ParallelConfig
from planner.config.scalars import Scalar
from planner.errors import UsageError

ALL_BLOCKS = "all"
_TRAIN = "train"
_OF_PIPELINES = ("model", "sequential")  # members of Offload


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockRule:
    """Which blocks are checkpointed: every n-th, the first ones, or those by name."""

    every: int = 0
    """The n-th, the 2n-th ...; 0: another rule."""
    first: int = 0
    """Their number; 0: another rule."""
    patterns: tuple[str, ...] = ()
    """Names of modules, with * as in fnmatch."""


class Step(Protocol):
    """The fields of a StepConfig that are looked at."""

    @property
    def mode(self) -> str: ...
    @property
    def precision(self) -> str | None: ...
    @property
    def optimizer(self) -> str | None: ...
    @property
    def accumulate(self) -> int: ...
    @property
    def set_to_none(self) -> bool: ...
    @property
    def clip_grad_norm(self) -> float | None: ...
    @property
    def optimizer_in_backward(self) -> bool: ...
    @property
    def checkpoint_blocks(self) -> str | None: ...
    @property
    def chunked_loss(self) -> int | None: ...
    @property
    def compile(self) -> str | None: ...
    @property
    def compiles(self) -> bool: ...
    @property
    def offloads_activations(self) -> bool: ...
    @property
    def parallel(self) -> ParallelConfig | None: ...
    @property
    def optimizer_arguments(self) -> tuple[tuple[str, Scalar], ...]: ...
    @property
    def offload(self) -> tuple[str, ...]: ...
    @property
    def offloads_optimizer(self) -> bool: ...


def check_levers(config: Step) -> None:
    """Refuses options that cannot go together.

    Raises:
        UsageError: names both, and what to leave out.
    """
    _check_mode(config)
    if config.checkpoint_blocks is not None:
        block_rule(config.checkpoint_blocks)
    if config.chunked_loss is not None and config.chunked_loss < 2:
        raise UsageError(
            f"chunked_loss must be 2 pieces or more, like 8, not {config.chunked_loss} "
            "(--chunked-loss)"
        )
    if config.compiles:
        _check_compile(config)
    if config.optimizer_in_backward:
        _check_optimizer_in_backward(config)
    if config.offloads_optimizer:
        _check_optimizer_offload(config)
    _check_pipeline_offload(config)


def block_rule(words: str) -> BlockRule:
    """Parses `all`, `every:2`, `first:8`, or names of modules with commas between them.

    Raises:
        UsageError: not of this form.
    """
    if words == ALL_BLOCKS:
        return BlockRule(every=1)
    counted = re.fullmatch(r"(every|first):([1-9]\d*)", words)
    if counted is not None:
        number = int(counted[2])
        return BlockRule(every=number) if counted[1] == "every" else BlockRule(first=number)
    patterns = tuple(part.strip() for part in words.split(","))
    if not all(re.fullmatch(r"[\w.*?\[\]!-]+", part) for part in patterns):
        raise UsageError(
            f"checkpoint_blocks {words!r} (--checkpoint-blocks) is not of the form all, every:N, "
            "first:N or NAME[,NAME...]; write every:2, first:8 or 'layer1.*,layers.3'"
        )
    return BlockRule(patterns=patterns)


def _check_mode(config: Step) -> None:
    asked = (
        ("optimizer_in_backward", config.optimizer_in_backward),
        ("checkpoint_blocks", config.checkpoint_blocks is not None),
        ("chunked_loss", config.chunked_loss is not None),
        ("offload", any(one not in _OF_PIPELINES for one in config.offload)),
    )
    for name, is_asked in asked:
        if is_asked and config.mode != _TRAIN:
            raise UsageError(
                f"{name} was given ({option_of(name)}), which belongs to a training step, and mode "
                "is infer: leave one of the two out"
            )


def _check_compile(config: Step) -> None:
    """Compiled code is one function, of which no part can be taken out."""
    parallel = config.parallel
    reasons = {
        "the loss in pieces (--chunked-loss) takes the output layer out of the model": (
            config.chunked_loss is not None
        ),
        "offloaded activations (--offload activations) are taken from the model's own operators": (
            config.offloads_activations
        ),
        "a pipeline (--parallel pp) cuts the model into stages": (
            parallel is not None and parallel.pipeline > 1
        ),
    }
    for reason, holds in reasons.items():
        if holds:
            raise UsageError(
                f"the model was to be compiled (--compile {_word(config.compile)}), and {reason}: "
                "leave one of the two out"
            )


def _check_optimizer_in_backward(config: Step) -> None:
    """An optimizer that steps in backward has freed a gradient before the next one is there."""
    reasons = {
        f"accumulation over {config.accumulate} micro-batches (--accumulate) adds gradients up": (
            config.accumulate > 1
        ),
        "clipping (--clip-grad-norm) needs the norm of all gradients": (
            config.clip_grad_norm is not None
        ),
        "a GradScaler (--precision amp-fp16) looks at all gradients before it lets a step happen": (
            config.precision == "amp-fp16"
        ),
        "set_to_none=False (--no-set-to-none) keeps gradients": not config.set_to_none,
        "optimizer none steps nothing": config.optimizer == "none",
        "optimizer muon is chosen by all weights of the model": config.optimizer == "muon",
    }
    for reason, holds in reasons.items():
        if holds:
            raise UsageError(
                "the optimizer was to step in backward (--optimizer-in-backward), which frees each "
                f"gradient at once, and {reason}: leave one of the two out"
            )


def _check_optimizer_offload(config: Step) -> None:
    """An optimizer on the host has neither the gradients nor the states on the card."""
    name = config.optimizer or ""
    reasons = {
        "an optimizer that steps in backward (--optimizer-in-backward) has all on the card": (
            config.optimizer_in_backward
        ),
        "a GradScaler (--precision amp-fp16) steps an optimizer of the card": (
            config.precision == "amp-fp16"
        ),
        "optimizer none steps nothing": name == "none",
        "optimizer muon is chosen by all weights of the model": name == "muon",
        f"optimizer {_word(name)} keeps its state on the card": "8bit" in name,
        "a fused optimizer on the host cannot be run without its bytes": (
            name.endswith("-fused") or ("fused", True) in config.optimizer_arguments
        ),
    }
    for reason, holds in reasons.items():
        if holds:
            raise UsageError(
                f"the optimizer was to be offloaded (--offload optimizer), and {reason}: leave one "
                "of the two out"
            )


def _check_pipeline_offload(config: Step) -> None:
    """Models of a pipeline are on the host in one way; worker/model/construct.py refuses others."""
    chosen = [_word(one) for one in config.offload if one in _OF_PIPELINES]
    if len(chosen) > 1:
        raise UsageError(
            "offload model and sequential were given (--offload): each layer on the host leaves "
            "no whole model on the card; leave one of the two out"
        )


def _word(name: object) -> str:
    return str(getattr(name, "value", name))
