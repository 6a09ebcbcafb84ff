"""Turns results into documents and back, and makes the JSON Schemas.

In: results, or documents from outside. Out: documents, results. Convention: a complete document has
every field of the result under "record", as msgspec writes dataclasses; where a planner of another
version cannot use that, it reads the public keys, which are never changed or removed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import msgspec

from planner.errors import DocumentError, PlannerError
from planner.results import reading, serving_reading
from planner.results.advice import Advice
from planner.results.comparison import CardComparison
from planner.results.curve import Curve
from planner.results.estimate import SCHEMA_VERSION, Estimate
from planner.results.inspection import Inspection
from planner.results.parallelization import Parallelization
from planner.results.result import Result
from planner.results.schema.advice import AdviceDocument
from planner.results.schema.comparison import ComparisonDocument
from planner.results.schema.curve import CurveDocument
from planner.results.schema.estimate import EstimateDocument
from planner.results.schema.inspection import InspectionDocument
from planner.results.schema.parallelization import ParallelizationDocument
from planner.results.schema.serving import ServingDocument
from planner.results.schema.verification import VerificationDocument
from planner.results.serving import ServingPlan
from planner.results.verification import Verification

RECORD = "record"
_ResultT = TypeVar("_ResultT", bound=Result)


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentKind:
    """One kind of document. `key` is a key that no other kind has."""

    command: str
    result: type[Result]
    document: type[Any]
    key: str
    read: Callable[[Mapping[str, Any]], Result]


KINDS = (
    DocumentKind(
        command="estimate",
        result=Estimate,
        document=EstimateDocument,
        key="gpus",
        read=reading.estimate_of,
    ),
    DocumentKind(
        command="curve",
        result=Curve,
        document=CurveDocument,
        key="points",
        read=reading.curve_of,
    ),
    DocumentKind(
        command="compare",
        result=CardComparison,
        document=ComparisonDocument,
        key="left_out",
        read=reading.comparison_of,
    ),
    DocumentKind(
        command="inspect",
        result=Inspection,
        document=InspectionDocument,
        key="modules",
        read=reading.inspection_of,
    ),
    DocumentKind(
        command="verify",
        result=Verification,
        document=VerificationDocument,
        key="probes",
        read=reading.verification_of,
    ),
    DocumentKind(
        command="advise",
        result=Advice,
        document=AdviceDocument,
        key="trials",
        read=reading.advice_of,
    ),
    DocumentKind(
        command="parallelize",
        result=Parallelization,
        document=ParallelizationDocument,
        key="spreads",
        read=reading.parallelization_of,
    ),
    DocumentKind(
        command="serving",
        result=ServingPlan,
        document=ServingDocument,
        key="budget_bytes",
        read=serving_reading.serving_of,
    ),
)


def kind_of_result(result: Result) -> DocumentKind:
    """Returns the kind of a result."""
    return next(kind for kind in KINDS if isinstance(result, kind.result))


def kind_of_document(document: Mapping[str, Any]) -> DocumentKind:
    """Returns the kind of a document.

    Raises:
        DocumentError: it is not a document of a result, or has a later schema.
    """
    version = document.get("schema_version")
    found = [kind for kind in KINDS if kind.key in document]
    if version is None or len(found) != 1:
        commands = ", ".join(kind.command for kind in KINDS)
        raise DocumentError(
            f"this is not a result of planner: it has the keys {_listed(document)}; what "
            f"`planner {commands.replace(', ', ', planner ')}` print with --json, and what --save "
            "writes, can be read"
        )
    if version != SCHEMA_VERSION:
        raise DocumentError(
            f"this result has schema_version {version!r}, and this planner knows {SCHEMA_VERSION}: "
            "a later version wrote it; update planner"
        )
    return found[0]


def complete_document(result: Result) -> dict[str, Any]:
    """Returns the document of `to_dict`, with every field but recordings under "record"."""
    if isinstance(result, Estimate):
        result = replace(result, allocations=(), batches=(), operators=())
    return {**result.to_dict(), RECORD: msgspec.to_builtins(result)}


def result_of(document: Mapping[str, Any], wanted: type[_ResultT]) -> _ResultT:
    """Returns the result of a document, which must be one of `wanted`.

    Raises:
        DocumentError: it is not.
    """
    kind = kind_of_document(document)
    if not issubclass(kind.result, wanted):
        raise DocumentError(
            f"this is a result of planner {kind.command}, and a {wanted.__name__} was requested; "
            f"read it with planner.{kind.result.__name__}.from_dict"
        )
    found = _recorded(kind, document)
    if found is None:
        try:
            found = kind.read(document)
        except (KeyError, ValueError, TypeError, AttributeError, PlannerError) as error:
            said = f"the key {error} is missing" if isinstance(error, KeyError) else str(error)
            raise DocumentError(
                f"this result of planner {kind.command} cannot be read: {said}; it was changed or "
                "is not whole"
            ) from error
    assert isinstance(found, wanted)
    return found


def _recorded(kind: DocumentKind, document: Mapping[str, Any]) -> Result | None:
    """Returns the result from the fields of "record"; None if missing or of another version."""
    if document.get(RECORD) is None:
        return None
    try:
        found = msgspec.convert(document[RECORD], kind.result)
    except (ValueError, TypeError, PlannerError):
        return None
    assert isinstance(found, Result)
    # They differ if a record was changed by hand, or its fields mean something else by now.
    return found if _agrees(found.to_dict(), document) else None


def _agrees(own: Mapping[str, Any], document: Mapping[str, Any]) -> bool:
    """Returns whether a record agrees with the public keys."""
    return all(
        name not in own or json.dumps(own[name]) == json.dumps(value)
        for name, value in document.items()
    )


def json_schema(command: str) -> dict[str, Any]:
    """Returns the JSON Schema (2020-12) of the output of `planner COMMAND --json`.

    Raises:
        DocumentError: there is no such command.
    """
    for kind in KINDS:
        if kind.command == command:
            found = msgspec.json.schema(kind.document)
            return {"$schema": "https://json-schema.org/draft/2020-12/schema", **found}
    raise DocumentError(
        f"planner {command} has no schema; these have: {', '.join(kind.command for kind in KINDS)}"
    )


def _listed(document: Mapping[str, Any]) -> str:
    names = [str(name) for name in document][:6]
    return ", ".join(map(repr, names)) + (" ..." if len(document) > 6 else "") if names else "none"
