"""Places of sparse tensors on the card: whole numbers that the host has sent, as ids of embeddings.

In: an operator on one sparse tensor, and its result. Out: the places of the result, where they are
known. Convention: values of sparse tensors are never known.
"""

from __future__ import annotations

import torch

from planner.worker.values import twins

OPERATORS = {"aten::clone", "aten::_coalesce"}


def learn_places(name: str, given: torch.Tensor, out: torch.Tensor) -> None:
    """Gives the result of an operator in OPERATORS its places."""
    if given.layout is not torch.sparse_coo or out is given:
        return
    places, made = twins.value_of(given._indices()), out._indices()
    if places is None:
        return
    if name == "aten::_coalesce":
        places = torch.unique(places, dim=1)
    if made.shape == places.shape:
        twin = twins.twin_of(given._indices())
        twins.learn(made, places.clone(), assumed=twin is not None and twin.is_drawn)
