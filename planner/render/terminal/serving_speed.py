"""The lines of a report on the speed of an engine that serves.

In: ServingSpeed. Out: labels and texts. Convention: the estimate, and in brackets the ends of the
interval.
"""

from __future__ import annotations

from collections.abc import Iterator

from rich.text import Text

from planner.results.serving_speed import (
    ServingLimit,
    ServingLimitKind,
    ServingLimitVerdict,
    ServingSpeed,
    SpeedSpan,
)
from planner.units import format_duration, format_significant

_LIMITS = {
    ServingLimitKind.TTFT: "time to the first token",
    ServingLimitKind.TPOT: "time per output token",
}
_VERDICTS = {
    ServingLimitVerdict.HOLDS: "holds",
    ServingLimitVerdict.LIKELY: "likely holds: not at the slow end of the interval",
    ServingLimitVerdict.UNLIKELY: "likely too slow: it holds at the fast end of the interval alone",
    ServingLimitVerdict.FAILS: "too slow",
}


def speed_lines(speed: ServingSpeed | None) -> list[tuple[str, Text]]:
    """Returns the lines; none where no speed is known."""
    if speed is None:
        return []
    lines = [("speed", Text(_rates(speed))), ("first", Text(_first(speed)))]
    if speed.tpot_s.middle:
        lines.append(("token", Text(_token(speed))))
    if speed.cost is not None:
        money = SpeedSpan(low=speed.cost.low, middle=speed.cost.middle, high=speed.cost.high)
        kind = "prompt" if speed.is_pooled else "output"
        text = f"{_span(money)} {speed.cost.currency} for a million {kind} tokens"
        lines.append(("money", Text(text)))
    lines += [("limit", _limit(one)) for one in speed.limits]
    return [*lines, *_most(speed)]


def _rates(speed: ServingSpeed) -> str:
    tokens, kind = speed.output_tokens_per_s, "output"
    if speed.is_pooled:
        tokens, kind = speed.prompt_tokens_per_s, "prompt"
    requests = _span(speed.requests_per_s)
    words = f"{_span(tokens)} {kind} tokens/s of all users, {requests} requests/s"
    return f"{words}; requests wait for a place" if speed.is_waiting else words


def _first(speed: ServingSpeed) -> str:
    return (
        f"{_times(speed.ttft_s)} to the {'answer' if speed.is_pooled else 'first token'} in the "
        "mean; alone "
        f"{format_duration(speed.alone_ttft_s)}, the last of all at once "
        f"{format_duration(speed.last_ttft_s)}"
    )


def _token(speed: ServingSpeed) -> str:
    user = format_significant(speed.user_tokens_per_s.middle)
    return f"{_times(speed.tpot_s)} per output token, so {user} tokens/s for a user"


def _limit(one: ServingLimit) -> Text:
    style = "green" if one.verdict.is_expected else "bold red"
    return Text(
        f"{_LIMITS[one.kind]} {format_duration(one.limit_s)}: {_VERDICTS[one.verdict]}",
        style=style,
    )


def _most(speed: ServingSpeed) -> Iterator[tuple[str, Text]]:
    if speed.most_users is not None:
        yield "users", Text(f"{speed.most_users} at most within the limits, by the estimate")


def _span(span: SpeedSpan) -> str:
    low, high = format_significant(span.low), format_significant(span.high)
    return f"{format_significant(span.middle)} ({low} to {high})"


def _times(span: SpeedSpan) -> str:
    low, high = format_duration(span.low), format_duration(span.high)
    return f"{format_duration(span.middle)} ({low} to {high})"
