"""The kind of a transformers model: what goes in, and which class has the head for a task.

In: a config of transformers. Out: Kind, and the Auto class of a task. Convention: the architecture
that the config names decides where a type of model has several.
"""

from __future__ import annotations

from enum import Enum
from typing import Any

from transformers.models.auto import modeling_auto

from planner.config.published import Task
from planner.errors import WrongTargetError


class Kind(Enum):
    """The kind of a model, by what goes in and what it is trained for."""

    CAUSAL = "language model"
    MASKED = "text encoder"
    SEQ2SEQ = "text encoder and decoder"
    IMAGE = "image encoder"
    CONTRASTIVE = "image and text encoders"
    IMAGE_TEXT = "language model with images"
    SPEECH = "speech encoder"
    SPEECH_SEQ2SEQ = "speech encoder and decoder"


_HEADS = {
    Kind.CAUSAL: "AutoModelForCausalLM",
    Kind.MASKED: "AutoModelForSequenceClassification",
    Kind.SEQ2SEQ: "AutoModelForSeq2SeqLM",
    Kind.IMAGE: "AutoModelForImageClassification",
    Kind.CONTRASTIVE: "AutoModel",
    Kind.IMAGE_TEXT: "AutoModelForImageTextToText",
    Kind.SPEECH: "AutoModelForCTC",
    Kind.SPEECH_SEQ2SEQ: "AutoModelForSpeechSeq2Seq",
}
_BODY = "AutoModel"
# Names that transformers has given a mapping in several versions.
_SEQ2SEQ = "MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES"
_GENERATES = (Kind.CAUSAL, Kind.SEQ2SEQ, Kind.IMAGE_TEXT, Kind.SPEECH_SEQ2SEQ)


def kind_of(config: Any, name: str) -> Kind:
    """Returns the kind of the model.

    Raises:
        WrongTargetError: transformers has it, but it is of none of these kinds.
    """
    of_type = config.model_type
    architecture = str((getattr(config, "architectures", None) or [""])[0])
    if _has("MODEL_FOR_SPEECH_SEQ_2_SEQ_MAPPING_NAMES", of_type) and of_type != "speecht5":
        return Kind.SPEECH_SEQ2SEQ
    if _has("MODEL_FOR_CTC_MAPPING_NAMES", of_type):
        return Kind.SPEECH
    if getattr(config, "vision_config", None) is not None:
        if _has("MODEL_FOR_ZERO_SHOT_IMAGE_CLASSIFICATION_MAPPING_NAMES", of_type):
            return Kind.CONTRASTIVE
        if _has("MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES", of_type):
            return Kind.IMAGE_TEXT
    if getattr(config, "is_encoder_decoder", False) and _has(_SEQ2SEQ, of_type):
        return Kind.SEQ2SEQ
    is_masked = _has("MODEL_FOR_MASKED_LM_MAPPING_NAMES", of_type)
    is_causal = _has("MODEL_FOR_CAUSAL_LM_MAPPING_NAMES", of_type)
    if is_causal and (not is_masked or architecture.endswith(("CausalLM", "LMHeadModel"))):
        return Kind.CAUSAL
    if is_masked:
        return Kind.MASKED
    if _has("MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES", of_type):
        return Kind.IMAGE
    kinds = ", ".join(kind.value for kind in Kind)
    raise WrongTargetError(
        f"{name} ({of_type}) is of none of the kinds that have a task here: {kinds}; write a model "
        "file with build_model() and build_batch() for it"
    )


def _has(mapping: str, of_type: str) -> bool:
    return of_type in getattr(modeling_auto, mapping, ())


def auto_class(kind: Kind, config: Any, task: Task) -> Any:
    """Returns the Auto class whose models have the head for the task.

    Raises:
        WrongTargetError: models of this kind cannot do the task.
    """
    if task is Task.GENERATE and kind not in _GENERATES:
        raise WrongTargetError(
            f"a {kind.value} ({config.model_type}) does not generate; it has the tasks "
            f"{', '.join(one.value for one in Task if one is not Task.GENERATE)}"
        )
    name = _HEADS[kind]
    if task is Task.EMBED:
        name = _BODY
    elif kind is Kind.MASKED and task is Task.PRETRAIN:
        name = "AutoModelForMaskedLM"
    elif kind is Kind.MASKED and task is Task.INFER and _is_body(config):
        name = _BODY
    return getattr(modeling_auto, name)


def class_of(auto: Any, config: Any) -> Any:
    """Returns the class of the model, imported; every run needs it.

    Raises:
        WrongTargetError: transformers has no class with this head for the model.
    """
    try:
        found = auto._model_mapping[type(config)]
    except KeyError:
        raise WrongTargetError(
            f"transformers has no {auto.__name__.removeprefix('Auto')} of type {config.model_type}"
        ) from None
    return found[0] if isinstance(found, tuple) else found


def _is_body(config: Any) -> bool:
    """Returns whether the published model has no head, as BertModel of a model for embeddings."""
    architecture = str((getattr(config, "architectures", None) or [""])[0])
    return architecture.endswith("Model") and not architecture.endswith("LMHeadModel")
