"""A load in its steady state: requests come and go, and prompts are read between written tokens.

In: Stepper, a load, what the engine holds. Out: SteadyLoad. Convention: each user asks again when
the answer is whole, so that there are always as many requests; users are not in step with each
other. A step has a token of each request that writes, and as much of a prompt as its tokens allow.

Of D writing requests with O tokens each and a prompt of P, a step has to read D x P / (O - 1)
tokens of prompts in the mean; it reads whole chunks, in so many of the steps. Little's law gives D:
users = D + rate x time to the first token.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from planner.timing.serving.attention import Prompts
from planner.timing.serving.step import ServedStep, Stepper

_ROUNDS = 16  # of halving
_LEAST_CHUNK = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """Requests that are always there: `users`, each with tokens of a prompt and of an answer."""

    users: float
    prompt: int
    output: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """What an engine does at once: tokens of a step, and requests by its limit and its cache."""

    step_tokens: int
    requests: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SteadyLoad:
    """What a load gets. Times are in seconds; rates are of all users together."""

    writing: float
    """Requests that write, in the mean."""
    tpot_s: float
    """Time per output token after the first, in the mean."""
    ttft_s: float
    """Time to the first token in the mean, with the wait for a place."""
    alone_ttft_s: float
    """The same for a request that is alone."""
    last_ttft_s: float
    """The same for the last of all users, if all ask at once."""
    requests_per_s: float
    prompt_steps: float
    """Share of the steps that read prompts."""
    spread: float
    """Standard deviation of the logarithm of measured over predicted times of the kernels."""
    is_waiting: bool
    """Whether requests wait for a place: by the limit of the engine, its cache or its steps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Turn:
    """The mean step with a number of requests that write, and the rate that follows."""

    step_s: float
    rate: float
    first_s: float
    share: float
    spread: float


def steady_load(stepper: Stepper, demand: Demand, holding: Holding) -> SteadyLoad:
    """Returns what the load gets in its steady state."""
    alone_s = first_token_s(stepper, demand.prompt, holding.step_tokens)
    if demand.output == 1:
        return _reading_alone(stepper, demand, holding, alone_s)
    most = min(demand.users, holding.requests, _most_writing(demand, holding))
    turn, writing = _turn(stepper, demand, holding, most), most
    if writing + turn.rate * turn.first_s > demand.users:
        low, high = 0.0, most
        for _ in range(_ROUNDS):
            writing = (low + high) / 2
            turn = _turn(stepper, demand, holding, writing)
            if writing + turn.rate * turn.first_s > demand.users:
                high = writing
            else:
                low = writing
    first_s = max(turn.first_s, (demand.users - writing) / turn.rate)
    return SteadyLoad(
        writing=writing,
        tpot_s=turn.step_s,
        ttft_s=first_s + stepper.host.first_s,
        alone_ttft_s=alone_s,
        last_ttft_s=_last_s(stepper, demand, holding),
        requests_per_s=turn.rate,
        prompt_steps=turn.share,
        spread=turn.spread,
        is_waiting=first_s > 1.01 * turn.first_s,
    )


def first_token_s(stepper: Stepper, prompt: int, step_tokens: int) -> float:
    """Returns the time to the first token of a request that is alone, from the client's request."""
    return stepper.host.first_s + sum(
        stepper.time(step).total_s for step in _chunks(prompt, step_tokens)
    )


def _chunks(prompt: int, step_tokens: int) -> list[ServedStep]:
    found = []
    for past in range(0, prompt, step_tokens):
        tokens = min(step_tokens, prompt - past)
        ended = int(past + tokens == prompt)
        prompts = Prompts(sequences=1, tokens=tokens, past=past)
        found.append(ServedStep(prompts=prompts, ended=ended))
    return found


def _most_writing(demand: Demand, holding: Holding) -> float:
    """Returns the most requests that write while a step reads as many prompts as end."""
    return holding.step_tokens / (1 + demand.prompt / (demand.output - 1))


def _turn(stepper: Stepper, demand: Demand, holding: Holding, writing: float) -> _Turn:
    context = demand.prompt + demand.output / 2
    due = writing * demand.prompt / (demand.output - 1)  # tokens of prompts in the mean step
    room = max(_LEAST_CHUNK, holding.step_tokens - round(writing))
    chunk = min(max(min(demand.prompt, room), due), room)
    share = min(1.0, due / chunk)
    requests = max(1, round(writing))
    reading = stepper.time(
        ServedStep(requests=requests, context=context, prompts=_prompts(demand, chunk), ended=1)
    )
    plain = stepper.time(ServedStep(requests=requests, context=context))
    step_s = share * reading.total_s + (1 - share) * plain.total_s
    chunks = ceil(demand.prompt / room)
    own_s = share * reading.total_s
    return _Turn(
        step_s=step_s,
        rate=writing / ((demand.output - 1) * step_s),
        first_s=step_s / 2 + chunks * reading.total_s,
        share=share,
        spread=(own_s * reading.spread + (step_s - own_s) * plain.spread) / step_s,
    )


def _prompts(demand: Demand, chunk: float) -> Prompts:
    """Returns a chunk as whole prompts, or as a part of one in the middle of it."""
    tokens = max(1, round(chunk))
    if tokens >= demand.prompt:
        return Prompts(sequences=max(1, round(tokens / demand.prompt)), tokens=demand.prompt)
    return Prompts(sequences=1, tokens=tokens, past=(demand.prompt - tokens) // 2)


def _last_s(stepper: Stepper, demand: Demand, holding: Holding) -> float:
    """Returns the time to the last first token, if all ask at once and all have a place."""
    tokens = demand.users * demand.prompt
    chunk = min(tokens, holding.step_tokens)
    prompts = _prompts(demand, chunk)
    written = round(demand.users / 2)
    step = ServedStep(
        requests=written, context=demand.prompt, prompts=prompts, ended=prompts.sequences
    )
    return stepper.host.first_s + tokens / chunk * stepper.time(step).total_s


def _reading_alone(
    stepper: Stepper, demand: Demand, holding: Holding, alone_s: float
) -> SteadyLoad:
    """Returns what a load of one token each gets: prompts alone, in full steps."""
    chunk = min(holding.step_tokens, demand.users * demand.prompt, holding.requests * demand.prompt)
    prompts = _prompts(demand, chunk)
    time = stepper.time(ServedStep(prompts=prompts, ended=prompts.sequences))
    rate = prompts.rows / demand.prompt / time.total_s
    return SteadyLoad(
        writing=0.0,
        tpot_s=0.0,
        ttft_s=max(alone_s, stepper.host.first_s + demand.users / rate),
        alone_ttft_s=alone_s,
        last_ttft_s=_last_s(stepper, demand, holding),
        requests_per_s=rate,
        prompt_steps=1.0,
        spread=time.spread,
        is_waiting=False,
    )
