"""What training programs do by themselves, where it moves memory.

In: nothing. Out: Habits of each Like. Convention: each was read in the source of the version that
`source` names; an option of the caller comes before a habit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from planner.config.published import Like
from planner.config.step import OptimizerName, Precision

# Neither Trainer nor peft calls it by itself.
_NOT_PREPARED = (
    "prepare_model_for_kbit_training is not called: it would make the other weights float32"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Habits:
    """The habits of one training program."""

    source: str
    """The program, its version, and the files in which the habits were read."""
    optimizer: OptimizerName = OptimizerName.ADAMW_FUSED
    """The optimizer of its defaults."""
    precision: Precision | None = None
    """The precision of its defaults; None: weights as published, no autocast."""
    checkpoints: bool = False
    """Whether it computes activations again in backward unless told otherwise."""
    holds_output: bool = False
    """Whether the output of the model (the logits) lives during backward."""
    adapters_float32: bool = True
    """Whether adapters beside 16-bit weights are float32 (peft's autocast_adapter_dtype)."""

    def words(self, *, quantised: bool) -> str:
        """Returns the habits as a sentence for the report."""
        logits = "live during backward" if self.holds_output else "end with the loss"
        said = f"habits: {self.source}; no cache of keys and values; the logits {logits}"
        return f"{said}; {_NOT_PREPARED}" if quantised else said


_TRAINER = Habits(source="Trainer as of transformers 5.24 (trainer.py, training_args.py)")
HABITS: Mapping[Like, Habits] = {
    Like.TRAINER: _TRAINER,
    Like.LOOP: Habits(
        source="a loop by hand (outputs = model(**batch); outputs.loss.backward())",
        optimizer=OptimizerName.ADAMW,
        holds_output=True,
    ),
}
