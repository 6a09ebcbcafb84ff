"""The length of a text where the caller names none, from the config of its model.

In: the values of a config of transformers. Out: tokens. Convention: the length is a usual one, or
the longest that the model takes where that is less.
"""

from __future__ import annotations

from collections.abc import Callable

OF_DECODERS = 2048
OF_ENCODERS = 512
_KEYS = ("max_position_embeddings", "n_positions", "n_ctx", "max_target_positions")
_PADDED = ("roberta", "xlm-roberta", "camembert", "longformer")  # two positions are for padding


def text_length(value_of: Callable[[str], object], usual: int) -> int:
    """Returns the tokens of a text, `usual` if the model takes so many.

    `value_of` gives the value of a key of the config; None where it has none.
    """
    most = longest_text(value_of)
    return usual if most is None else min(usual, most)


def longest_text(value_of: Callable[[str], object]) -> int | None:
    """Returns the tokens that the config names as the most; None: it names none."""
    known = map(value_of, _KEYS)
    most = min((one for one in known if isinstance(one, int) and one > 0), default=None)
    if most is not None and value_of("model_type") in _PADDED:
        most -= 2
    return most
