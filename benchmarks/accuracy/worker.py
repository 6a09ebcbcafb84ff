"""`python -m benchmarks.accuracy.worker`: predicts a group of cases in its own environment.

In: on stdin the source's name and its cases, one JSON document. Out: on stdout a JSON line for each
prediction, as soon as it is there.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import Any

from benchmarks.accuracy.predicting import predictions
from benchmarks.accuracy.records import Case, Prediction, Quantity
from benchmarks.accuracy.sources import SOURCES


def main() -> int:
    """Reads the cases, predicts them and writes the predictions."""
    cases = [decoded(document) for document in json.load(sys.stdin)]
    for prediction in predictions(SOURCES[cases[0].source], cases):
        print(json.dumps(asdict(prediction)), flush=True)
    return 0


def encoded(case: Case) -> dict[str, Any]:
    """Returns a case as plain values for JSON."""
    return {**asdict(case), "quantity": case.quantity.value}


def decoded(document: dict[str, Any]) -> Case:
    """Returns the case that `encoded` wrote."""
    settings = tuple((key, value) for key, value in document["settings"])
    return Case(**{**document, "quantity": Quantity(document["quantity"]), "settings": settings})


def prediction_of(line: str) -> Prediction:
    """Returns the prediction in a line of a worker."""
    return Prediction(**json.loads(line))


if __name__ == "__main__":
    sys.exit(main())
