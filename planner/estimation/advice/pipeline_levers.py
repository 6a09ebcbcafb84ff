"""Levers of what generates: quantised weights, and the parts of a pipeline of diffusers.

In: Subject. Out: LeverRows. Convention: a pipeline keeps all its models on the card unless it is
told otherwise; what is offloaded already stays so.
"""

from __future__ import annotations

from planner.config.published import Decoding, Library, Quant, Task
from planner.config.step import Offload
from planner.estimation.advice.lever_row import LeverRow, Subject
from planner.results.advice import Effect
from planner.wire.trace import TensorCategory

_PARAMETER = TensorCategory.PARAMETER
_TEMPORARY = TensorCategory.TEMPORARY


def of_quantised_weights(subject: Subject) -> list[LeverRow]:
    """Returns the levers that round the weights of a model that does not train."""
    task = subject.task
    if task is None or task.task.trains or not _quantises(subject):
        return []
    cannot = "" if task.weights_quant is None else f"they are in {task.weights_quant.value} already"
    return [
        LeverRow(
            name=f"weights in {bits} bits",
            options={"quant": quant.value},
            family="quantisation",
            effect=Effect.LARGE,
            note=f"linear layers are rounded to {bits} bits (bitsandbytes): other answers",
            code=f"BitsAndBytesConfig(load_in_{bits}bit=True), for from_pretrained",
            cannot=cannot,
            is_last=True,
            promise=((_PARAMETER, share),),
        )
        for quant, bits, share in ((Quant.INT8, 8, 0.45), (Quant.NF4, 4, 0.7))
    ]


def _quantises(subject: Subject) -> bool:
    return subject.library is Library.TRANSFORMERS or is_pipeline(subject)


def is_pipeline(subject: Subject) -> bool:
    """Returns whether the step is a whole pipeline of diffusers."""
    task = subject.task
    return task is not None and subject.library is Library.DIFFUSERS and task.task is Task.GENERATE


def of_a_pipeline(subject: Subject) -> list[LeverRow]:
    """Returns the levers of a pipeline of diffusers: its decoder, and where its models wait."""
    task = subject.task
    if task is None or not is_pipeline(subject):
        return []
    given = subject.config.offload
    return [
        *(
            LeverRow(
                name=f"decoder by {words}",
                options={"vae": [one.value for one in (*task.vae, way)]},
                family=f"decoder {way.value}",
                effect=effect,
                note=note,
                code=f"pipe.vae.enable_{way.value}()",
                cannot="it is on already" if way in task.vae else "",
                is_last=True,
                promise=((_TEMPORARY, 0.5),),
            )
            for way, words, effect, note in (
                (Decoding.SLICING, "image", Effect.NONE, "one image of the batch at a time"),
                (Decoding.TILING, "tiles", Effect.SMALL, "tiles that overlap, and are blended"),
            )
        ),
        *(
            LeverRow(
                name=f"{words} offload",
                options={"offload": [way.value]},
                family="pipeline offload",
                effect=Effect.NONE,
                note=f"the same numbers; {note}, and are copied to the card in each generation",
                code=f"pipe.enable_{way.value}_cpu_offload()",
                cannot="the pipeline is offloaded already" if given else "",
                uses_host=True,
                strength=strength,
                promise=((_PARAMETER, share),),
            )
            for way, words, note, strength, share in (
                (Offload.MODEL, "model", "models wait in the RAM of the host", 1, 0.7),
                (Offload.SEQUENTIAL, "layer", "layers wait in the RAM of the host", 2, 0.9),
            )
        ),
    ]
