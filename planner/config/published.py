"""A published model and its task, as data: the records that go to the child.

In: nothing; planner/published/ fills them. Out: frozen records. Convention: `None` and an empty
tuple mean "not given": the library's own default, which is reported, takes its place.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import Enum

from planner.config.generation import DEFAULT_NEW_TOKENS, KvCache
from planner.config.scalars import Scalar


class Library(str, Enum):
    """The library that has the class of a published model; the word before the colon."""

    TRANSFORMERS = "hf"
    """transformers of Hugging Face: hf:org/name, or hf:path/to/config.json."""
    DIFFUSERS = "diffusers"
    """diffusers of Hugging Face: one denoiser, or with --task generate the whole pipeline."""
    TIMM = "timm"
    """timm: timm:resnet50."""
    TORCHVISION = "torchvision"
    """torchvision: torchvision:vit_b_16."""

    @property
    def package(self) -> str:
        """Returns the name of its package."""
        return self.name.lower()


class Task(str, Enum):
    """The work that a published model does."""

    PRETRAIN = "pretrain"
    """Trains all weights by the objective that the model was made with."""
    FINETUNE = "finetune"
    """Trains all weights for the usual use of the model."""
    LORA = "lora"
    """Trains adapters of low rank beside frozen weights (peft)."""
    QLORA = "qlora"
    """The same beside frozen weights in 4 or 8 bits (peft, bitsandbytes)."""
    EMBED = "embed"
    """The body of the model without its head, forward alone."""
    GENERATE = "generate"
    """Reads a prompt, then writes tokens one by one with a growing cache of keys and values; a
    pipeline of diffusers makes an image or a clip of it."""
    INFER = "infer"
    """One forward."""

    @property
    def trains(self) -> bool:
        """Returns whether the task has a backward."""
        return self not in (Task.EMBED, Task.GENERATE, Task.INFER)

    @property
    def has_adapters(self) -> bool:
        """Returns whether the task trains adapters of low rank."""
        return self in (Task.LORA, Task.QLORA)


class Quant(str, Enum):
    """How frozen weights are quantised (bitsandbytes)."""

    NF4 = "nf4"
    """4 bits, with constants that are quantised too."""
    INT8 = "int8"
    """8 bits, LLM.int8()."""


class Attention(str, Enum):
    """The implementation of attention in transformers, or in the denoiser of a pipeline."""

    SDPA = "sdpa"
    """scaled_dot_product_attention of PyTorch."""
    EAGER = "eager"
    """Plain matrix products: the scores of all pairs of tokens are tensors."""
    SLICED = "sliced"
    """The same for a part of the heads at a time: enable_attention_slicing() of diffusers."""


class Decoding(str, Enum):
    """How the decoder of a pipeline saves memory."""

    SLICING = "slicing"
    """Sample by sample: enable_slicing() of diffusers."""
    TILING = "tiling"
    """Tile by tile, where the image is larger than one: enable_tiling() of diffusers."""


class Like(str, Enum):
    """The training program whose habits are taken where they differ."""

    TRAINER = "trainer"
    """Trainer of transformers."""
    TRL = "trl"
    """SFTTrainer of trl."""
    LOOP = "loop"
    """A loop by hand that holds the output of the model during backward."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskConfig:
    """The task of a published model, and the choices in it."""

    task: Task = Task.FINETUNE
    """The work to do."""
    lora_rank: int | None = None
    """Rank of the adapters; None: that of peft."""
    lora_alpha: int | None = None
    """Scale of the adapters; None: that of peft. It moves no memory."""
    lora_targets: tuple[str, ...] = ()
    """Names of the modules with adapters, or `all-linear`; none: those of peft."""
    quant: Quant | None = None
    """How frozen weights are quantised; None: not, and NF4 for QLoRA."""
    freeze: tuple[str, ...] = ()
    """Patterns of names of parameters that do not train."""
    image: tuple[int, int] | None = None
    """Height and width of an image; None: those of the config."""
    frames: int | None = None
    """Frames of a clip; None: those of the model."""
    new_tokens: int | None = None
    """Tokens that generate writes; None: a default, which is reported."""
    num_beams: int | None = None
    """Beams of generate; None: one, greedy."""
    kv_cache: KvCache | None = None
    """The cache of generate; None: one that grows."""
    attention: Attention | None = None
    """Implementation of attention; None: that of the library."""
    denoise_steps: int | None = None
    """Steps of denoising of a pipeline; None: those of its class."""
    vae: tuple[Decoding, ...] = ()
    """How the decoder of a pipeline saves memory, in the order of Decoding; none: it does not."""
    like: Like = Like.TRAINER
    """The training program whose habits are taken."""

    @property
    def tokens_written(self) -> int:
        """Returns the tokens that generate writes for each sample; 0 for another task."""
        if self.task is not Task.GENERATE:
            return 0
        return self.new_tokens or DEFAULT_NEW_TOKENS

    @property
    def weights_quant(self) -> Quant | None:
        """Returns how the frozen weights are quantised: NF4 for QLoRA that names nothing else."""
        return self.quant or (Quant.NF4 if self.task is Task.QLORA else None)

    def given(self) -> tuple[tuple[str, Scalar], ...]:
        """Returns the task, and each choice that is not the default, as names and values."""
        default = TaskConfig()
        pairs: list[tuple[str, Scalar]] = []
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name == "task" or value != getattr(default, field.name):
                pairs.append((field.name, _scalar(value)))
        return tuple(pairs)


def _scalar(value: object) -> Scalar:
    if isinstance(value, Enum):
        return str(value.value)
    if isinstance(value, tuple):
        if value and isinstance(value[0], int):
            return "x".join(map(str, value))
        return ",".join(str(one.value if isinstance(one, Enum) else one) for one in value)
    assert value is None or isinstance(value, (bool, int, float, str)), "no other kind of field"
    return value


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedModel:
    """A model of a library, and its task."""

    library: Library
    name: str
    """The model as the caller named it, without the library."""
    config: str = ""
    """The text of config.json; empty for a library that has its own (timm, torchvision). Of a
    pipeline: the document of its components."""
    origin: str = ""
    """A sentence on the place and the date of the config."""
    dtype: str | None = None
    """Dtype of the weights, as in torch; None: that of the config, else float32."""
    autocast: str | None = None
    """Dtype of autocast, as in torch; None: there is none."""
    task: TaskConfig = TaskConfig()
