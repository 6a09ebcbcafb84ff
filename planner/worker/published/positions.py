"""Texts that are longer than the table of positions of their model.

In: a config, a maker of batches. Out: one that refuses them. Convention: a card ends such a forward
with an assertion in a kernel, which no emulated card can see; positions that are computed (rotary,
relative, ALiBi) have no table and no end.
"""

from __future__ import annotations

from functools import wraps
from typing import Any

from planner.config.published import TaskConfig
from planner.config.text_lengths import longest_text
from planner.errors import LengthError
from planner.worker.published.tokens import BuildBatch

# Their classes in transformers look a position up in a table of max_position_embeddings rows.
_WITH_TABLE = frozenset(
    ("bart", "bert", "bigbird", "biogpt", "blenderbot", "camembert", "clip", "codegen",
     "distilbert", "electra", "gpt2", "gpt_bigcode", "gpt_neo", "gptj", "longformer", "marian",
     "mbart", "opt", "pegasus", "roberta", "siglip", "xlm-roberta", "xlm-roberta-xl")
)  # fmt: skip


def within_positions(build: BuildBatch, config: Any, task: TaskConfig) -> BuildBatch:
    """Returns a maker of batches that refuses texts beyond the positions of the model."""
    most = longest_text(lambda key: getattr(config, key, None))
    if config.model_type not in _WITH_TABLE or most is None:
        return build
    longest, written = most, task.tokens_written
    read_again = max(0, written - 1)  # the last token that is written is not read
    after = f" and {written} new ones (--new-tokens)" if written else ""
    is_pair = getattr(config, "is_encoder_decoder", False)

    @wraps(build)
    def build_batch(*sizes: int, **named: int) -> dict[str, Any]:
        batch = build(*sizes, **named)
        length = batch["input_ids"].shape[1]
        read = max(length, read_again) if is_pair else length + read_again
        if read > longest:
            raise LengthError(
                f"a text of {length} tokens (--seq){after} was asked for, and {config.model_type} "
                f"has positions for {longest}: a card ends there with an error; ask for less"
            )
        return batch

    return build_batch
