"""The levers: changes of a step that may take less memory, or less time.

In: Subject, the step as it was run. Out: LeverRows. Convention: a lever is a change of the caller's
options, so that its flags are exactly what was tried. One whose option this planner lacks is not
listed; one that cannot apply says why.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from planner.config.parse import NAMES as STEP_NAMES
from planner.config.published import Library, Task, TaskConfig
from planner.config.scalars import Scalar
from planner.config.step import Mode, Precision, StepConfig
from planner.config.weights import WeightDtype, are_mainly_float32
from planner.estimation.advice.words import flags
from planner.hardware.specs import GpuSpec
from planner.published.words import NAMES as TASK_NAMES
from planner.results.advice import Effect, Lever
from planner.wire.protocol import OwnLever
from planner.wire.trace import TensorCategory

_SAVED = TensorCategory.SAVED_ACTIVATION
_STATE = TensorCategory.OPTIMIZER_STATE
_GRADIENT = TensorCategory.GRADIENT
_PARAMETER = TensorCategory.PARAMETER
_TEMPORARY = TensorCategory.TEMPORARY
_OPTIMIZER_NAMES = {"Adam": "adam", "AdamW": "adamw"}
_LEAST_SEQUENCE = 128
_MOST_MICRO_BATCHES = 64  # beyond it most of a step is launches


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """The step as requested.

    `optimizer` is its class; `task` that of a published model, None for another target;
    `largest_batch` the largest that fits, None: not known. `own` are the levers of the model
    file, `given` the arguments of its model. `categories` are bytes at the peak, empty where they
    are not known.
    """

    config: StepConfig
    weights: tuple[WeightDtype, ...]
    optimizer: str
    card: GpuSpec
    library: Library | None = None
    task: TaskConfig | None = None
    largest_batch: int | None = None
    own: tuple[OwnLever, ...] = ()
    given: tuple[tuple[str, Scalar], ...] = ()
    categories: Mapping[str, int] = field(default_factory=dict)

    @property
    def trains(self) -> bool:
        """Returns whether the step has a backward."""
        return self.config.mode is Mode.TRAIN

    @property
    def is_single(self) -> bool:
        """Returns whether the weights are float32 and nothing is cast."""
        precision = self.config.precision
        if precision in (None, Precision.AS_BUILT):
            return are_mainly_float32(self.weights)
        return precision is Precision.FP32


Words = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class LeverRow:
    """A lever of the table.

    `options` are the words that it changes. `family`: of two levers with the same family only one
    is used at a time. `cannot` is the reason why it cannot apply here, "" where it can. `is_last`:
    tried where nothing else fits, or on request; `on_request`: on request alone. `changes_job`: it
    gives up something that was requested, like the batch. `is_reserve`: tried in combinations
    alone, in place of one of its family with less `strength`. `is_own`: of the model file.
    `promise` are the shares of categories that it may save, for the order of the trials.
    """

    name: str
    options: Words
    family: str
    effect: Effect
    note: str
    code: str
    cannot: str = ""
    is_last: bool = False
    on_request: bool = False
    changes_job: bool = False
    is_reserve: bool = False
    is_own: bool = False
    strength: int = 0
    promise: tuple[tuple[TensorCategory, float], ...] = ()

    @property
    def lever(self) -> Lever:
        """Returns the lever as a result shows it."""
        return Lever(
            name=self.name,
            flags=flags(self.options),
            code=tuple(self.code.splitlines()),
            effect=self.effect,
            note=self.note,
        )

    def promised_bytes(self, categories: Mapping[str, int]) -> float:
        """Returns the bytes that it may save, by the categories of the peak."""
        return sum(share * categories.get(category.value, 0) for category, share in self.promise)


def lever_rows(subject: Subject) -> tuple[LeverRow, ...]:
    """Returns all levers that this planner has options for."""
    known = {*STEP_NAMES, *TASK_NAMES, "model_arguments"}
    makers: tuple[Callable[[Subject], list[LeverRow]], ...] = (
        _of_the_allocator, _of_activations, _of_micro_batches, _of_precision, _of_the_optimizer,
        _of_the_loss, _of_the_input, _of_the_task, _of_the_compiler, _of_the_file,
    )  # fmt: skip
    rows = [row for make in makers for row in make(subject)]
    return tuple(row for row in rows if known >= {*row.options})


def _of_the_allocator(subject: Subject) -> list[LeverRow]:
    config = subject.config
    given = "" if config.alloc_conf is None else f"--alloc-conf {config.alloc_conf} was given"
    rows = [
        LeverRow(
            name=name,
            options={"alloc_conf": text},
            family="allocator",
            effect=Effect.NONE,
            note=note,
            code=f"PYTORCH_CUDA_ALLOC_CONF={text} python train.py",
            cannot=given,
        )
        for name, text, note in (
            (
                "expandable segments", "expandable_segments:True",
                "the same numbers; the allocator's segments grow in place",
            ),
            (
                "split limit", "max_split_size_mb:128",
                "the same numbers; large blocks are not split",
            ),
        )
    ]  # fmt: skip
    rows.append(
        LeverRow(
            name="drop gradients",
            options={"set_to_none": True},
            family="gradients",
            effect=Effect.NONE,
            note="the same numbers; gradients are gone during forward",
            code="optimizer.zero_grad(set_to_none=True)",
            cannot=_training_alone(subject)
            or ("" if not config.set_to_none else "zero_grad drops gradients already"),
            promise=((_GRADIENT, 0.8),),
        )
    )
    return rows


def _of_activations(subject: Subject) -> list[LeverRow]:
    given = _training_alone(subject) or (
        "activations are checkpointed already" if subject.config.checkpoint_activations else ""
    )
    note = "the same numbers; blocks are computed again in backward"
    code = (
        "from torch.utils.checkpoint import checkpoint\n"
        "x = checkpoint(block, x, use_reentrant=False)  # in forward, for {which}"
    )
    rows = [
        LeverRow(
            name="checkpoint activations",
            options={"checkpoint_activations": True},
            family="checkpointing",
            effect=Effect.NONE,
            note=note,
            code=code.format(which="each block"),
            cannot=given,
            promise=((_SAVED, 0.8),),
        )
    ]
    rows += [
        LeverRow(
            name=f"checkpoint {name}",
            options={"checkpoint_blocks": text},
            family="checkpointing",
            effect=Effect.NONE,
            note=note,
            code=code.format(which=name),
            cannot=given,
            promise=((_SAVED, share),),
        )
        for name, text, share in (("every second block", "every:2", 0.4),)
    ]
    rows.append(
        LeverRow(
            name="offload activations",
            options={"offload": ("activations",)},
            family="checkpointing",
            effect=Effect.NONE,
            note="the same numbers; activations wait in the RAM of the host",
            code=(
                "with torch.autograd.graph.save_on_cpu(pin_memory=True):\n"
                "    loss = loss_fn(model(inputs), targets)"
            ),
            cannot=_training_alone(subject),
            promise=((_SAVED, 0.7),),
        )
    )
    return rows


def _of_micro_batches(subject: Subject) -> list[LeverRow]:
    config = subject.config
    if not subject.trains:
        return _fewer(subject)
    if config.batch_size == 1:
        return [_micro_batches(config, 2, cannot="one sample cannot be divided")]
    alone, all_of_them = _divisors(subject)
    rows = [_micro_batches(config, times, is_reserve=times not in alone) for times in all_of_them]
    return [*rows, *_fewer(subject)]


def _micro_batches(
    config: StepConfig, times: int, *, cannot: str = "", is_reserve: bool = False
) -> LeverRow:
    size = max(1, config.batch_size // times)
    whole = config.accumulate * times
    return LeverRow(
        name="micro-batches" if cannot else f"{whole} micro-batches",
        options={"batch_size": size, "accumulate": whole},
        family="batch",
        effect=Effect.NONE,
        note="the same samples a step; batch norm sees the smaller batch",
        code=(
            f"for part in batch.chunk({whole}):\n"
            f"    (loss_fn(model(part)) / {whole}).backward()\n"
            "optimizer.step()"
        ),
        cannot=cannot,
        strength=times,
        is_reserve=is_reserve,
        promise=((_SAVED, 1 - 1 / times), (_TEMPORARY, 1 - 1 / times)),
    )


def _divisors(subject: Subject) -> tuple[list[int], list[int]]:
    """Returns numbers of micro-batches to try alone (2, those that may be enough), and all."""
    batch, largest = subject.config.batch_size, subject.largest_batch or 0
    every = [n for n in range(2, min(batch, _MOST_MICRO_BATCHES) + 1) if batch % n == 0]
    enough = [times for times in every if batch // times <= largest]
    alone = sorted({*every[:1], *enough[:2]})
    return alone, sorted({*alone, *_doubling(every)})


def _doubling(numbers: list[int]) -> list[int]:
    """Returns rising numbers that are at least twice the one before, the last one always."""
    kept: list[int] = []
    for number in numbers:
        if not kept or number >= 2 * kept[-1]:
            kept.append(number)
    return sorted({*kept, *numbers[-1:]})


def _fewer(subject: Subject) -> list[LeverRow]:
    """Returns the largest batch that fits, where it is smaller than the requested one."""
    largest = subject.largest_batch
    if not largest or largest >= subject.config.batch_size:
        return []
    trains = subject.trains
    return [
        LeverRow(
            name="smaller batch",
            options={"batch_size": largest},
            family="batch",
            effect=Effect.LARGE if trains else Effect.NONE,
            note=(
                "fewer samples a step: the learning rate may have to change"
                if trains
                else "the same numbers, fewer samples at a time"
            ),
            code=f"DataLoader(dataset, batch_size={largest})",
            changes_job=True,
            promise=((_SAVED, 0.5),),
        )
    ]


def _of_precision(subject: Subject) -> list[LeverRow]:
    config = subject.config
    half = "bf16" if subject.card.peak_flops_per_s.bf16 is not None else "fp16"
    dtype = "torch.bfloat16" if half == "bf16" else "torch.float16"
    is_cast = "" if subject.is_single else "the step is not in float32"
    scaler = "" if half == "bf16" or not subject.trains else "  # with torch.amp.GradScaler"
    kept = (
        "small updates of weights are lost to rounding"
        if subject.trains
        else "weights are rounded to 8 bits of mantissa"
    )
    return [
        LeverRow(
            name="autocast",
            options={"precision": f"amp-{half}"},
            family="precision",
            effect=Effect.SMALL,
            note=f"matrix products round to {half}; weights and optimizer stay in float32",
            code=f'with torch.autocast("cuda", {dtype}):{scaler}\n'
            "    loss = loss_fn(model(inputs), targets)",
            cannot=is_cast,
            promise=((_SAVED, 0.4),),
        ),
        LeverRow(
            name=f"{half} weights",
            options={"precision": half},
            family="precision",
            effect=Effect.LARGE,
            note=f"weights, gradients and optimizer in {half}: {kept}",
            code=f"model = model.to({dtype})",
            cannot=is_cast or _half_in_config(config),
            promise=((_PARAMETER, 0.5), (_GRADIENT, 0.5), (_STATE, 0.5), (_SAVED, 0.5)),
        ),
        LeverRow(
            name="channels_last",
            options={"channels_last": True},
            family="layout",
            effect=Effect.NONE,
            note="the same numbers, up to the order of sums; for convolutions of images",
            code="model = model.to(memory_format=torch.channels_last)",
            cannot="channels_last is on already" if config.channels_last else "",
        ),
    ]


def _half_in_config(config: StepConfig) -> str:
    return "" if config.precision not in (Precision.BF16, Precision.FP16) else "already so"


# name on the command line, name, effect, sentence, code, share of the optimizer's state saved
_OTHER_OPTIMIZERS = (
    (
        "adamw8bit", "8-bit AdamW", Effect.SMALL,
        "states of the optimizer in 8 bits, with blockwise scales",
        "bitsandbytes.optim.AdamW8bit(model.parameters())", 0.7,
    ),
    (
        "paged-adamw8bit", "paged 8-bit AdamW", Effect.SMALL,
        "the same, in memory that the driver may move to the host",
        "bitsandbytes.optim.PagedAdamW8bit(model.parameters())", 0.7,
    ),
    (
        "adafactor", "Adafactor", Effect.LARGE,
        "another optimizer: factored states, other learning rates",
        "torch.optim.Adafactor(model.parameters())", 0.9,
    ),
    (
        "lion", "Lion", Effect.LARGE,
        "another optimizer: one state a parameter, other learning rates",
        "lion_pytorch.Lion(model.parameters())", 0.5,
    ),
    (
        "sgd", "SGD", Effect.LARGE,
        "another optimizer without state: other learning rates, often worse for transformers",
        "torch.optim.SGD(model.parameters(), lr=0.01)", 1.0,
    ),
)  # fmt: skip


def _of_the_optimizer(subject: Subject) -> list[LeverRow]:
    kind = subject.optimizer.partition(" (")[0]
    cannot = _training_alone(subject)
    if not cannot and kind in ("", "none"):
        cannot = "no optimizer steps"
    rows = _by_arguments(subject, kind, cannot)
    for word, name, effect, note, code, share in _OTHER_OPTIMIZERS:
        given = subject.config.optimizer
        is_it = kind.lower() == word.replace("-", "") or (given is not None and given.value == word)
        no_gain = "SGD" if kind == "SGD" and word != "sgd" else ""
        rows.append(
            LeverRow(
                name=name,
                options={"optimizer": word, "optimizer_arguments": {}},
                family="optimizer",
                effect=effect,
                note=note,
                code=f"optimizer = {code}",
                cannot=cannot
                or (f"the optimizer is {kind}" if is_it else "")
                or (f"{no_gain} keeps no more state than it" if no_gain else ""),
                promise=((_STATE, share),),
            )
        )
    rows += [
        LeverRow(
            name="optimizer in backward",
            options={"optimizer_in_backward": True},
            family="in backward",
            effect=Effect.NONE,
            note="the same numbers without clipping; each gradient is gone as soon as it is used",
            code=(
                "for p in model.parameters():\n"
                "    p.register_post_accumulate_grad_hook(step_and_free)  # an optimizer for each"
            ),
            cannot=cannot,
            promise=((_GRADIENT, 0.9),),
        ),
        LeverRow(
            name="offload optimizer",
            options={"offload": ("optimizer",)},
            family="optimizer state",
            effect=Effect.NONE,
            note="the same numbers; states of the optimizer wait in the RAM of the host",
            code="# states on the host: torchao.optim.CPUOffloadOptimizer",
            cannot=cannot,
            promise=((_STATE, 0.9),),
        ),
    ]
    return rows


def _by_arguments(subject: Subject, kind: str, cannot: str) -> list[LeverRow]:
    """Returns the forms of the same optimizer, where its name is known."""
    config = subject.config
    name = config.optimizer.value if config.optimizer is not None else _OPTIMIZER_NAMES.get(kind)
    plain = None if name is None else name.removesuffix("-fused")
    given = dict(config.optimizer_arguments)
    is_fused = subject.optimizer.endswith("(fused)")
    unnamed = "" if plain in ("adam", "adamw", "sgd", "sgd-momentum") else (
        "it has no such form, or the model file makes it"
    )  # fmt: skip
    return [
        LeverRow(
            name="loop optimizer",
            options={"optimizer": plain, "optimizer_arguments": {**given, "foreach": False}},
            family="optimizer",
            effect=Effect.NONE,
            note="the same numbers; the optimizer takes one parameter at a time",
            code=f"optimizer = {_class_of(plain)}(model.parameters(), foreach=False)",
            cannot=cannot or unnamed or ("it is fused" if is_fused else ""),
            promise=((_PARAMETER, 0.2),),
        ),
        LeverRow(
            name="fused optimizer",
            options={"optimizer": plain, "optimizer_arguments": {**given, "fused": True}},
            family="optimizer",
            effect=Effect.NONE,
            note="the same numbers, up to rounding; one kernel for many parameters",
            code=f"optimizer = {_class_of(plain)}(model.parameters(), fused=True)",
            cannot=cannot or unnamed or ("it is fused" if is_fused else ""),
            promise=((_PARAMETER, 0.2),),
        ),
    ]


def _class_of(name: str | None) -> str:
    return {"adam": "torch.optim.Adam", "adamw": "torch.optim.AdamW"}.get(
        name or "", "torch.optim.SGD"
    )


def _of_the_loss(subject: Subject) -> list[LeverRow]:
    return [
        LeverRow(
            name="chunked loss",
            options={"chunked_loss": 8},
            family="loss",
            effect=Effect.NONE,
            note="the same numbers; logits exist for an eighth of the tokens at a time",
            code="# the head and the loss over hidden.chunk(8), each under checkpoint",
            cannot=_training_alone(subject),
            promise=((_SAVED, 0.2), (_TEMPORARY, 0.7)),
        )
    ]


def _of_the_input(subject: Subject) -> list[LeverRow]:
    length, task = subject.config.sequence_length, subject.task
    rows = []
    if length is not None:
        half = length // 2
        rows.append(
            LeverRow(
                name="half the sequence",
                options={"sequence_length": half},
                family="input",
                effect=Effect.LARGE,
                note="the model sees texts of half the length",
                code=f"sequence_length = {half}",
                cannot="" if half >= _LEAST_SEQUENCE else "the sequence is short already",
                changes_job=True,
                promise=((_SAVED, 0.5),),
            )
        )
    if task is not None and task.image is not None:
        height, width = task.image[0] // 2, task.image[1] // 2
        rows.append(
            LeverRow(
                name="half the image",
                options={"image": f"{height}x{width}"},
                family="input",
                effect=Effect.LARGE,
                note="the model sees images of a quarter of the pixels",
                code=f"height, width = {height}, {width}",
                is_last=True,
                changes_job=True,
                promise=((_SAVED, 0.7),),
            )
        )
    return rows


def _of_the_task(subject: Subject) -> list[LeverRow]:
    task, library = subject.task, subject.library
    if task is None:
        return []
    has_adapters = library in (Library.TRANSFORMERS, Library.DIFFUSERS)
    trains_all = task.task in (Task.FINETUNE, Task.PRETRAIN)
    why_not = "" if has_adapters and task.task.trains else "no adapters for this task"
    rows = [
        LeverRow(
            name=word,
            options={"task": word.lower()},
            family="task",
            effect=Effect.LARGE,
            note=note,
            code=code,
            cannot=why_not or ("" if allowed else f"the task is {task.task.value}"),
            is_last=True,
            promise=((_STATE, 0.9), (_GRADIENT, 0.9), (_PARAMETER, share)),
        )
        for word, note, code, allowed, share in (
            (
                "LoRA", "only adapters of low rank train, the weights are frozen",
                "model = peft.get_peft_model(model, peft.LoraConfig())", trains_all, 0.0,
            ),
            (
                "QLoRA", "only adapters train; the frozen weights are rounded to 4 bits",
                "BitsAndBytesConfig(load_in_4bit=True), then peft.get_peft_model",
                trains_all or task.task is Task.LORA, 0.7,
            ),
        )
    ]  # fmt: skip
    if library is Library.TRANSFORMERS:
        is_eager = task.attention is not None and task.attention.value == "eager"
        rows.append(
            LeverRow(
                name="attention sdpa",
                options={"attention": "sdpa"},
                family="attention",
                effect=Effect.NONE,
                note="the same numbers, up to rounding; no tensor of all pairs of tokens",
                code='AutoModel.from_pretrained(name, attn_implementation="sdpa")',
                cannot="" if is_eager else "attention is that of the library, not eager",
                is_last=not is_eager,
                promise=((_SAVED, 0.5),),
            )
        )
    return rows


def _of_the_compiler(subject: Subject) -> list[LeverRow]:
    return [
        LeverRow(
            name="compile",
            options={"compile": True},
            family="compile",
            effect=Effect.SMALL,
            note="fused kernels round differently; the first step takes minutes",
            code="model = torch.compile(model)",
            on_request=True,
        )
    ]


def _of_the_file(subject: Subject) -> list[LeverRow]:
    """Returns the levers that the model file has itself, with its words."""
    given = dict(subject.given)
    return [
        LeverRow(
            name=own.name,
            options={"model_arguments": {**given, **dict(own.arguments)}},
            family="model",
            effect=Effect.LARGE,
            note=own.note or "as the model file has it",
            code=own.code or "# in the model: " + ", ".join(f"{k}={v}" for k, v in own.arguments),
            cannot="the model has these arguments already"
            if all(key in given and given[key] == value for key, value in own.arguments)
            else "",
            is_own=True,
            promise=((_SAVED, 0.5),),
        )
        for own in subject.own
    ]


def _training_alone(subject: Subject) -> str:
    return "" if subject.trains else "only a training step has it"
