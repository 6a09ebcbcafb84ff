"""Reads the config.json of a model from the hub of Hugging Face.

In: the name of a model. Out: the bytes of its config.json. Convention: one plain GET with a short
time-out; HF_HUB_OFFLINE is obeyed, HF_ENDPOINT and HF_TOKEN are those of huggingface_hub, and the
token goes to no other host.
"""

from __future__ import annotations

import http.client
import os
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass

from planner.published.config_text import MOST_BYTES

_ENDPOINT = "https://huggingface.co"
_TIMEOUT_S = 5.0
_YES = ("1", "ON", "YES", "TRUE")
_OFFLINE = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")


@dataclass(frozen=True, slots=True, kw_only=True)
class HubAnswer:
    """The answer of the hub: the content of a file, or the reason why there is none."""

    content: bytes | None = None
    place: str = ""
    reason: str = ""


def offline_by() -> str | None:
    """Returns the variable that forbids the network, as NAME=VALUE; None: it is allowed."""
    for name in _OFFLINE:
        value = os.environ.get(name, "")
        if value.upper() in _YES:
            return f"{name}={value}"
    return None


def hub_config(name: str, files: Sequence[str]) -> HubAnswer:
    """Asks the hub for the first of `files` that the model has."""
    forbidden = offline_by()
    if forbidden is not None:
        return HubAnswer(reason=f"the hub was not asked ({forbidden})")
    endpoint = (os.environ.get("HF_ENDPOINT") or _ENDPOINT).rstrip("/")
    if not endpoint.startswith(("https://", "http://")):
        return HubAnswer(reason=f"HF_ENDPOINT is no address: {endpoint}")
    answer = HubAnswer(reason="no file was named")
    for file in files:
        answer = _got(f"{endpoint}/{name}/resolve/main/{file}", endpoint, name)
        if answer.content is not None or not answer.reason.startswith(_NOT_THERE):
            return answer
    return answer


_NOT_THERE = "the hub has no"


def _got(address: str, endpoint: str, name: str) -> HubAnswer:
    request = urllib.request.Request(address)  # the scheme is checked above
    token = os.environ.get("HF_TOKEN")
    if token:  # not sent on to the host of a redirection
        request.add_unredirected_header("Authorization", f"Bearer {token}")
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as answer:
            content: bytes = answer.read(MOST_BYTES + 1)
            return HubAnswer(content=content, place=address)
    except urllib.error.HTTPError as error:
        if error.code in (401, 403):
            access = "HF_TOKEN gives no access to it" if token else "set HF_TOKEN if it is gated"
            return HubAnswer(reason=f"the hub shows no {name} ({error.code}): {access}")
        if error.code == 404:
            return HubAnswer(reason=f"{_NOT_THERE} {address.removeprefix(endpoint + '/')} (404)")
        return HubAnswer(reason=f"the hub answered {error.code} for {name}")
    except (OSError, ValueError, http.client.HTTPException) as error:
        cause = getattr(error, "reason", error)
        return HubAnswer(reason=f"the hub at {endpoint} cannot be reached ({cause})")
