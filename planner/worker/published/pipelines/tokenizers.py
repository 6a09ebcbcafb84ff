"""Tokenizers that need no vocabulary: each word is one token.

In: the longest text in tokens. Out: a fast tokenizer of transformers. Convention: padding,
truncation and masks are those of transformers; only the numbers of the tokens are not the
published ones, and no size depends on them.
"""

from __future__ import annotations

from typing import Any

from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from planner.worker.published.pipelines.calls import WORD

_PAD, _END, _UNKNOWN = "<pad>", "</s>", "<unk>"


def tokenizer(tokens: int | None) -> Any:
    """Returns a tokenizer whose texts have at most `tokens` tokens; None: there is no limit."""
    words = models.WordLevel({_PAD: 0, _END: 1, _UNKNOWN: 2, WORD: 3}, unk_token=_UNKNOWN)
    backend = Tokenizer(words)
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    made: Any = PreTrainedTokenizerFast
    limits = {} if tokens is None else {"model_max_length": tokens}
    return made(
        tokenizer_object=backend, pad_token=_PAD, eos_token=_END, unk_token=_UNKNOWN, **limits
    )
