"""Suggests the word that was probably meant for an unknown word of an option.

In: the known words, and the given one. Out: the end of a sentence, or "". Convention: words of
torch, Lightning and transformers lead to the option that does the same here.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from enum import Enum

from planner.config.generation import JobMode
from planner.config.step import Mode, OptimizerName, Precision

_FP16 = "fp16 (weights cast) or amp-fp16 (autocast)"
_BF16 = "bf16 (weights cast) or amp-bf16 (autocast)"
_AMP = "amp-bf16 or amp-fp16 (autocast)"
_QUANTIZED = "as-built, with a build_model that quantizes its weights itself"
_MODES = {
    **dict.fromkeys(("training", "fit", "finetune", "fine-tune"), "train"),
    **dict.fromkeys(("inference", "eval", "predict", "test", "forward"), "infer"),
}
_OF_JOBS = dict.fromkeys(("generation", "sample", "decode"), "generate")
_MEANT: dict[type[Enum], dict[str, str]] = {
    Precision: {
        **dict.fromkeys(("float16", "half", "16", "f16", "16-true"), _FP16),
        **dict.fromkeys(("bfloat16", "bfloat", "bf16-true"), _BF16),
        **dict.fromkeys(
            ("float32", "float", "single", "full", "32", "f32", "32-true", "tf32"), "fp32"
        ),
        **dict.fromkeys(("mixed", "amp", "autocast", "auto", "mixed-precision"), _AMP),
        **dict.fromkeys(("16-mixed", "fp16-mixed", "float16-mixed"), "amp-fp16"),
        **dict.fromkeys(("bf16-mixed", "bfloat16-mixed"), "amp-bf16"),
        **dict.fromkeys(("int8", "int4", "8bit", "4bit", "8-bit", "4-bit", "nf4"), _QUANTIZED),
        **dict.fromkeys(("none", "default"), "as-built"),
    },
    Mode: _MODES,
    JobMode: {**_MODES, **_OF_JOBS},
    OptimizerName: {
        "momentum": "sgd-momentum",
        **dict.fromkeys(("adam-8bit", "8bit-adam", "bnb-adam"), "adam8bit"),
        **dict.fromkeys(("adamw-8bit", "8bit-adamw", "adamw-bnb-8bit"), "adamw8bit"),
        **dict.fromkeys(("paged-adamw-8bit",), "paged-adamw8bit"),
    },
}


def word(text: str) -> str:
    """Writes a word as options do: torch.float16 becomes float16, AMP_BF16 becomes amp-bf16."""
    return text.strip().lower().removeprefix("torch.").replace("_", "-")


def did_you_mean(kind: type[Enum], text: str) -> str:
    """Returns `; did you mean amp-bf16?` for a word that is no member of `kind`; "" if no guess."""
    meant = _MEANT.get(kind, {}).get(word(text)) or near(
        word(text), [member.value for member in kind]
    )
    return f"; did you mean {meant}?" if meant else ""


def near(text: str, known: Iterable[str], most: int = 2) -> str:
    """Returns near words with "or" between them, nearest first; "" if none is near."""
    return " or ".join(difflib.get_close_matches(text, list(known), n=most, cutoff=0.6))
