"""Recordings of a loop that writes tokens, made by hand, for the tests of what is told from them.

Each layer keeps a tensor that is copied to grow: the new one is there before the old one is freed.
Before it a token has an activation that is gone with its end, and scratch that grows in steps.
"""

from __future__ import annotations

from planner.memory.allocator.requests import Request
from planner.memory.generation.unrolled import RecordedTokens
from planner.wire.trace import EventKind

WEIGHT_BYTES = 1_000_000
TOKEN_BYTES = 4096  # that a layer keeps of a token
PROMPT = 10
LAYERS = 2
STEPS = 2


def scratch_bytes(length: int) -> int:
    """Returns the scratch of a kernel, which takes more from 20 tokens on."""
    return 2048 if length < 20 else 8192


def cache_bytes(token: int) -> int:
    """Returns what a layer keeps after a token; the first one is read with the prompt."""
    return (PROMPT + token - 1) * TOKEN_BYTES


def generation(tokens: int, *, skipped: int = 0, jump: int = 0, steady: int = 0) -> RecordedTokens:
    """Returns the recording of a run that writes `tokens` after a prompt longer by `skipped`.

    With `jump`, the cache of a token has so many bytes more each time that its number is odd. With
    `steady`, each later token has a tensor of that size.
    """
    rows: list[Request] = []
    rounds: list[list[int]] = []
    blocks = iter(range(1_000_000))

    def alloc(size_bytes: int) -> int:
        block = next(blocks)
        rows.append(Request(EventKind.ALLOC, block, size_bytes))
        return block

    def free(block: int) -> None:
        rows.append(Request(EventKind.FREE, block))

    alloc(WEIGHT_BYTES)
    written = None
    for _ in range(STEPS):
        rounds.append([])
        prompt, older = alloc(8 * (PROMPT + skipped)), None
        if written is not None:
            free(written)
        cache = [alloc(cache_bytes(skipped + 1)) for _ in range(LAYERS)]
        logits = alloc(5000)
        for token in range(skipped + 1, skipped + tokens + 1):
            rounds[-1].append(len(rows))
            if token > skipped + 1:  # the first token is that of the prompt's forward
                for layer in range(LAYERS):
                    activation = alloc(3000)
                    free(alloc(scratch_bytes(PROMPT + token)))
                    grown = alloc(cache_bytes(token) + jump * (token % 2))
                    free(cache[layer])
                    cache[layer] = grown
                    free(activation)
                free(logits)
                logits = alloc(5000)
                indices = alloc(steady) if steady else None
            longer = alloc(8 * (PROMPT + token))
            if steady and token > skipped + 1:
                free(indices)
            if older is not None:
                free(older)  # as with beams: two rounds later
            older, prompt = prompt, longer
        rounds[-1].append(len(rows))
        for block in (*cache, logits, older):
            free(block)
        written = prompt
    return RecordedTokens(requests=tuple(rows), rounds=rounds)
