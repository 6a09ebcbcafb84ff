"""How fast an engine serves a load, as a result, and its JSON form.

In: nothing; estimation/serving_speed.py fills it. Out: ServingSpeed. Convention: a SpeedSpan has
the estimate and the ends of the interval; seconds, tokens per second of all cards together.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeedSpan:
    """An estimate with the ends of its interval."""

    low: float
    """The least."""
    middle: float
    """The estimate."""
    high: float
    """The greatest."""

    def times(self, factor: float) -> SpeedSpan:
        """Returns the span with all three multiplied."""
        return SpeedSpan(
            low=factor * self.low, middle=factor * self.middle, high=factor * self.high
        )


class ServingLimitKind(str, Enum):
    """A time that is limited."""

    TTFT = "ttft"
    """Time to the first token of an answer, in the mean."""
    TPOT = "tpot"
    """Time per output token after the first, in the mean."""


class ServingLimitVerdict(str, Enum):
    """Whether a limit holds under the load."""

    HOLDS = "holds"
    """Also at the slow end of the interval."""
    LIKELY = "likely"
    """By the estimate, but not at the slow end."""
    UNLIKELY = "unlikely"
    """At the fast end of the interval alone."""
    FAILS = "fails"
    """Not even there."""

    @property
    def is_expected(self) -> bool:
        """Returns whether it holds by the estimate."""
        return self in (ServingLimitVerdict.HOLDS, ServingLimitVerdict.LIKELY)


def limit_verdict(limit_s: float, span: SpeedSpan) -> ServingLimitVerdict:
    """Returns whether a time is within its limit."""
    if span.high <= limit_s:
        return ServingLimitVerdict.HOLDS
    if span.middle <= limit_s:
        return ServingLimitVerdict.LIKELY
    return ServingLimitVerdict.UNLIKELY if span.low <= limit_s else ServingLimitVerdict.FAILS


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingLimit:
    """A limit that was given."""

    kind: ServingLimitKind
    """What is limited."""
    limit_s: float
    """The limit in seconds."""
    verdict: ServingLimitVerdict
    """Whether it holds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenCost:
    """The rent of all cards for a million output tokens."""

    low: float
    """At the lowest rent and the fast end of the interval, in `currency`."""
    middle: float
    """At the mean of the rents and the estimate."""
    high: float
    """At the highest rent and the slow end."""
    currency: str
    """Three letters."""
    basis: str
    """Where the rent is from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingSpeed:
    """What a load gets in its steady state: each user asks again when the answer is whole."""

    output_tokens_per_s: SpeedSpan
    """Tokens of answers per second, of all users together."""
    prompt_tokens_per_s: SpeedSpan
    """Tokens of prompts per second, of all users together."""
    is_pooled: bool
    """Whether vectors or scores are given, so that answers have no tokens."""
    requests_per_s: SpeedSpan
    """Requests per second."""
    tpot_s: SpeedSpan
    """Time per output token after the first, in the mean."""
    ttft_s: SpeedSpan
    """Time to the first token, in the mean; its high end: all users ask at once."""
    alone_ttft_s: float
    """Time to the first token of a request that is alone, by the estimate."""
    last_ttft_s: float
    """Time to the first token of the last user, if all ask at once, by the estimate."""
    writing: float
    """Requests that write at the same time, in the mean; others are read, or wait."""
    is_waiting: bool
    """Whether requests wait for a place in the engine."""
    prompt_steps: float
    """Share of the engine's steps that read prompts."""
    cost: TokenCost | None
    """Money for a million output tokens, of vectors and scores prompt tokens; None: not known."""
    limits: tuple[ServingLimit, ...]
    """The limits that were given."""
    most_users: int | None
    """The most users for whom they hold by the estimate; None: none were given."""
    loads: int
    """Published figures that the interval is from."""
    sources: int
    """Sources of these."""

    @property
    def user_tokens_per_s(self) -> SpeedSpan:
        """Returns the tokens per second that one user sees after the first; 0: answers have one."""
        ends = self.tpot_s
        if not ends.middle:
            return SpeedSpan(low=0.0, middle=0.0, high=0.0)
        return SpeedSpan(low=1 / ends.high, middle=1 / ends.middle, high=1 / ends.low)

    @property
    def holds_limits(self) -> bool:
        """Returns whether all limits hold by the estimate."""
        return all(one.verdict.is_expected for one in self.limits)

    def to_dict(self) -> dict[str, Any]:
        """Returns the JSON object `speed`."""
        return {
            "output_tokens_per_s": self.output_tokens_per_s.middle,
            "output_tokens_per_s_interval": _ends(self.output_tokens_per_s),
            "prompt_tokens_per_s": self.prompt_tokens_per_s.middle,
            "prompt_tokens_per_s_interval": _ends(self.prompt_tokens_per_s),
            "is_pooled": self.is_pooled,
            "user_tokens_per_s": self.user_tokens_per_s.middle,
            "user_tokens_per_s_interval": _ends(self.user_tokens_per_s),
            "requests_per_s": self.requests_per_s.middle,
            "requests_per_s_interval": _ends(self.requests_per_s),
            "time_per_output_token_s": self.tpot_s.middle,
            "time_per_output_token_interval_s": _ends(self.tpot_s),
            "time_to_first_token_s": self.ttft_s.middle,
            "time_to_first_token_interval_s": _ends(self.ttft_s),
            "time_to_first_token_alone_s": self.alone_ttft_s,
            "time_to_last_first_token_s": self.last_ttft_s,
            "writing_requests": self.writing,
            "is_waiting": self.is_waiting,
            "prompt_steps": self.prompt_steps,
            **self._money(),
            "currency": None if self.cost is None else self.cost.currency,
            "price": None if self.cost is None else self.cost.basis,
            "limits": [
                {"limit": one.kind.value, "limit_s": one.limit_s, "verdict": one.verdict.value}
                for one in self.limits
            ],
            "most_users": self.most_users,
            "interval_loads": self.loads,
            "interval_sources": self.sources,
        }

    def _money(self) -> dict[str, Any]:
        """Returns the cost under the tokens that it is of."""
        cost = self.cost
        middle = None if cost is None else cost.middle
        ends = None if cost is None else [cost.low, cost.high]
        names = ("cost_per_million_output_tokens", "cost_per_million_prompt_tokens")
        found: dict[str, Any] = {}
        for name, is_of in zip(names, (not self.is_pooled, self.is_pooled), strict=True):
            found[name] = middle if is_of else None
            found[f"{name}_interval"] = ends if is_of else None
        return found


def _ends(span: SpeedSpan) -> list[float]:
    return [span.low, span.high]
