"""Chooses the card of a question about one card.

In: the caller's word. Out: a name of the database, or the card of this machine.
"""

from __future__ import annotations

from contextlib import suppress

from planner.config.target import Target
from planner.errors import UsageError
from planner.estimation.request import EstimateRequest
from planner.hardware.database import load_gpus
from planner.memory.card_words import OWN_CARD, one_card, own_cards


def one_named_card(gpu: str | None, asked: EstimateRequest, command: str, subject: str) -> str:
    """Returns the requested card, else the card of this machine if it has one kind.

    `subject` begins a message, like "a curve is of one card".

    Raises:
        UsageError: several were requested; or none, and the card is not clear.
    """
    if gpu is not None:
        refusal = f"{subject}; for several: planner compare, or planner.compare()"
        return one_card(gpu, "gpu", refusal, asked.database)
    if asked.speed_words.get("host") is None:  # with a host, its card may be meant
        with suppress(UsageError):
            own = own_cards(load_gpus(asked.database))
            if len(own) == 1:
                return OWN_CARD
    target = asked.target.label if isinstance(asked.target, Target) else asked.target
    target = target if isinstance(target, str) else "TARGET"
    raise UsageError(
        f"{subject}, and none was asked for: planner {command} {target} --gpu a100 "
        '(in Python gpu="a100"); `planner gpus` lists the names'
    )
