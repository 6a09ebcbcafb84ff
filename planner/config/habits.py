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
    """The autocast of its defaults, beside weights as published; None: there is none."""
    checkpoints: bool = False
    """Whether it computes activations again in backward unless told otherwise."""
    holds_output: bool = False
    """Whether the output of the model (the logits) lives during backward."""
    adapters_bfloat16: bool = False
    """Whether adapters beside quantised weights are made bfloat16; peft makes them float32."""
    fuses_head: bool = False
    """Whether the head and the loss are one function, so that no logits are kept."""

    def words(self, *, quantised: bool) -> str:
        """Returns the habits as a sentence for the report."""
        logits = "live during backward" if self.holds_output else "end with the loss"
        if self.fuses_head:
            logits = "are made piece by piece with the loss"
        said = f"habits: {self.source}; no cache of keys and values; the logits {logits}"
        if self.precision is not None:
            said += f"; {self.precision.value.removeprefix('amp-')} autocast"
        if quantised and self.adapters_bfloat16:
            said += "; the adapters are bfloat16"
        return f"{said}; {_NOT_PREPARED}" if quantised else said


_TRAINER = Habits(source="Trainer as of transformers 5.24 (trainer.py, training_args.py)")
HABITS: Mapping[Like, Habits] = {
    Like.TRAINER: _TRAINER,
    Like.TRL: Habits(
        source="SFTTrainer as of trl 1.16 (sft_trainer.py, sft_config.py)",
        precision=Precision.AMP_BF16,
        checkpoints=True,
        adapters_bfloat16=True,
        fuses_head=True,
    ),
    Like.LOOP: Habits(
        source="a loop by hand (outputs = model(**batch); outputs.loss.backward())",
        optimizer=OptimizerName.ADAMW,
        holds_output=True,
    ),
}
