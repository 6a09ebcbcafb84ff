"""A model that is built once, before the runs are forked, so that each of them inherits it.

In: ModelSource whose models are all alike. Out: the same source with a model without weights, which
the first construct of a process takes. Convention: the card is not touched; where building fails,
the run builds, and its error is reported as always.
"""

from __future__ import annotations

import gc
from dataclasses import replace

from planner.worker.model import meta
from planner.worker.model.initialisers import no_redraw_on_cuda
from planner.worker.published.card_queries import card_stays_untouched
from planner.worker.target.source import ModelSource


def build_ahead(source: ModelSource) -> ModelSource:
    """Returns the source with its model built, where its models are alike; else the source."""
    if not source.builds_alike:
        return source
    try:
        with card_stays_untouched(), no_redraw_on_cuda(), meta.parameters_on_meta():
            model = source.build_model()
    except Exception:
        return source
    gc.freeze()  # collections of the runs need not look at it
    return replace(source, ahead=[model])
