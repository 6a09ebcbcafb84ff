"""Levers of the optimizer: its form, another one, its step in backward.

In: Subject. Out: LeverRows.
"""

from __future__ import annotations

from planner.estimation.advice.lever_row import LeverRow, Subject, training_alone
from planner.results.advice import Effect
from planner.wire.trace import TensorCategory

_STATE = TensorCategory.OPTIMIZER_STATE
_GRADIENT = TensorCategory.GRADIENT
_PARAMETER = TensorCategory.PARAMETER
_OPTIMIZER_NAMES = {"Adam": "adam", "AdamW": "adamw"}


# name on the command line, name, effect, sentence, code, share of the optimizer's state saved
_OTHER_OPTIMIZERS = (
    (
        "adamw8bit", "8-bit AdamW", Effect.SMALL,
        "states of the optimizer in 8 bits, with blockwise scales",
        "bitsandbytes.optim.AdamW8bit(model.parameters())", 0.7,
    ),
    (
        "paged-adamw8bit", "paged 8-bit AdamW", Effect.SMALL,
        "the same, in memory that the driver may move to the host",
        "bitsandbytes.optim.PagedAdamW8bit(model.parameters())", 0.7,
    ),
    (
        "adafactor", "Adafactor", Effect.LARGE,
        "another optimizer: factored states, other learning rates",
        "torch.optim.Adafactor(model.parameters())", 0.9,
    ),
    (
        "lion", "Lion", Effect.LARGE,
        "another optimizer: one state a parameter, other learning rates",
        "lion_pytorch.Lion(model.parameters())", 0.5,
    ),
    (
        "sgd", "SGD", Effect.LARGE,
        "another optimizer without state: other learning rates, often worse for transformers",
        "torch.optim.SGD(model.parameters(), lr=0.01)", 1.0,
    ),
)  # fmt: skip


def of_the_optimizer(subject: Subject) -> list[LeverRow]:
    """Returns the levers of the optimizer."""
    kind = subject.optimizer.partition(" (")[0]
    cannot = training_alone(subject)
    if not cannot and kind in ("", "none"):
        cannot = "no optimizer steps"
    rows = _by_arguments(subject, kind, cannot)
    for word, name, effect, note, code, share in _OTHER_OPTIMIZERS:
        given = subject.config.optimizer
        is_it = kind.lower() == word.replace("-", "") or (given is not None and given.value == word)
        no_gain = "SGD" if kind == "SGD" and word != "sgd" else ""
        rows.append(
            LeverRow(
                name=name,
                options={"optimizer": word, "optimizer_arguments": {}},
                family="optimizer",
                effect=effect,
                note=note,
                code=f"optimizer = {code}",
                cannot=cannot
                or (f"the optimizer is {kind}" if is_it else "")
                or (f"{no_gain} keeps no more state than it" if no_gain else ""),
                promise=((_STATE, share),),
                uses_host=word.startswith("paged-"),
            )
        )
    rows += [
        LeverRow(
            name="optimizer in backward",
            options={"optimizer_in_backward": True},
            family="in backward",
            effect=Effect.NONE,
            note="the same numbers without clipping; each gradient is gone as soon as it is used",
            code=(
                "for p in model.parameters():\n"
                "    p.register_post_accumulate_grad_hook(step_and_free)  # an optimizer for each"
            ),
            cannot=cannot,
            promise=((_GRADIENT, 0.9),),
        ),
    ]
    return rows


def _by_arguments(subject: Subject, kind: str, cannot: str) -> list[LeverRow]:
    """Returns the forms of the same optimizer, where its name is known."""
    config = subject.config
    name = config.optimizer.value if config.optimizer is not None else _OPTIMIZER_NAMES.get(kind)
    plain = None if name is None else name.removesuffix("-fused")
    given = dict(config.optimizer_arguments)
    is_fused = subject.optimizer.endswith("(fused)")
    unnamed = "" if plain in ("adam", "adamw", "sgd", "sgd-momentum") else (
        "it has no such form, or the model file makes it"
    )  # fmt: skip
    return [
        LeverRow(
            name="loop optimizer",
            options={"optimizer": plain, "optimizer_arguments": {**given, "foreach": False}},
            family="optimizer",
            effect=Effect.NONE,
            note="the same numbers; the optimizer takes one parameter at a time",
            code=f"optimizer = {_class_of(plain)}(model.parameters(), foreach=False)",
            cannot=cannot or unnamed or ("it is fused" if is_fused else ""),
            promise=((_PARAMETER, 0.2),),
        ),
        LeverRow(
            name="fused optimizer",
            options={"optimizer": plain, "optimizer_arguments": {**given, "fused": True}},
            family="optimizer",
            effect=Effect.NONE,
            note="the same numbers, up to rounding; one kernel for many parameters",
            code=f"optimizer = {_class_of(plain)}(model.parameters(), fused=True)",
            cannot=cannot or unnamed or ("it is fused" if is_fused else ""),
            promise=((_PARAMETER, 0.2),),
        ),
    ]


def _class_of(name: str | None) -> str:
    return {"adam": "torch.optim.Adam", "adamw": "torch.optim.AdamW"}.get(
        name or "", "torch.optim.SGD"
    )
