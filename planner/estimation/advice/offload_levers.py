"""Levers that use the RAM of the host: saved activations there, or the optimizer.

In: Subject. Out: LeverRows. Convention: a part that is offloaded already stays so.
"""

from __future__ import annotations

from planner.config.step import Offload, Precision
from planner.estimation.advice.lever_row import LeverRow, Subject, training_alone
from planner.results.advice import Effect
from planner.wire.trace import TensorCategory

_SAVED = TensorCategory.SAVED_ACTIVATION
_STATE = TensorCategory.OPTIMIZER_STATE
_CLASSES = {"Adam", "AdamW", "SGD", "Adagrad", "RMSprop"}  # with loops that run on the host
_OPTIMIZER_CODE = """\
weights = [p for p in model.parameters() if p.requires_grad]
copies = [torch.empty_like(p, device="cpu", pin_memory=True) for p in weights]
for weight, copy in zip(weights, copies):
    copy.copy_(weight.detach())
    copy.grad = torch.empty_like(copy, pin_memory=True)
optimizer = {kind}(copies)  # with your arguments

# after loss.backward(), in place of optimizer.step(); then model.zero_grad()
for weight, copy in zip(weights, copies):
    copy.grad.copy_(weight.grad)
optimizer.step()
with torch.no_grad():
    for weight, copy in zip(weights, copies):
        weight.copy_(copy)"""


def of_the_host(subject: Subject) -> list[LeverRow]:
    """Returns the levers of the host's RAM."""
    given, alone = subject.config.offload, training_alone(subject)
    kind = subject.optimizer
    return [
        LeverRow(
            name="activation offload",
            options={"offload": _with(given, Offload.ACTIVATIONS)},
            family="activation offload",
            effect=Effect.NONE,
            note="the same numbers; saved tensors wait in pinned RAM of the host",
            code=(
                "with torch.autograd.graph.save_on_cpu(pin_memory=True):\n"
                "    loss = loss_fn(model(batch))\n"
                "loss.backward()"
            ),
            cannot=alone
            or ("activations are offloaded already" if Offload.ACTIVATIONS in given else ""),
            promise=((_SAVED, 0.8),),
            uses_host=True,
        ),
        LeverRow(
            name="optimizer offload",
            options={"offload": _with(given, Offload.OPTIMIZER)},
            family="optimizer",
            effect=Effect.NONE,
            note="the same numbers, up to rounding; the update runs on the host",
            code=_OPTIMIZER_CODE.format(kind=f"torch.optim.{kind}"),
            cannot=alone
            or ("the optimizer is offloaded already" if Offload.OPTIMIZER in given else "")
            or _why_not_on_host(subject, kind),
            promise=((_STATE, 1.0),),
            uses_host=True,
            excludes=("in backward",),
        ),
    ]


def _with(given: tuple[Offload, ...], part: Offload) -> tuple[Offload, ...]:
    return tuple(one for one in Offload if one in given or one is part)


def _why_not_on_host(subject: Subject, kind: str) -> str:
    """Returns why this optimizer cannot be offloaded; "" where it can."""
    config = subject.config
    if kind not in _CLASSES:
        return "the optimizer is not one of torch.optim that is run on the host without its bytes"
    if config.optimizer_in_backward:
        return "the optimizer steps in backward"
    if config.precision is Precision.AMP_FP16:
        return "a GradScaler steps an optimizer of the card"
    return ""
