"""Levers of the model: precision, layout, task, and those of the model file itself.

In: Subject. Out: LeverRows.
"""

from __future__ import annotations

from planner.config.published import Library, Task
from planner.config.step import CompileMode, Precision, StepConfig
from planner.estimation.advice.lever_row import LeverRow, Subject
from planner.results.advice import Effect
from planner.wire.trace import TensorCategory

_SAVED = TensorCategory.SAVED_ACTIVATION
_STATE = TensorCategory.OPTIMIZER_STATE
_GRADIENT = TensorCategory.GRADIENT
_PARAMETER = TensorCategory.PARAMETER


def of_precision(subject: Subject) -> list[LeverRow]:
    """Returns the levers of precision."""
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


def of_the_compiler(subject: Subject) -> list[LeverRow]:
    """Returns the lever of torch.compile: to use it, or not to."""
    note = "the same numbers, up to rounding; "
    if subject.is_compiled:
        return [
            LeverRow(
                name="eager",
                options={"compile": CompileMode.OFF.value},
                family="compiler",
                effect=Effect.NONE,
                note=note + "without torch.compile",
                code="# the model as it is, without torch.compile",
            )
        ]
    return [
        LeverRow(
            name="torch.compile",
            options={"compile": CompileMode.DEFAULT.value},
            family="compiler",
            effect=Effect.NONE,
            note=note + "operators in one kernel keep no results between them",
            code="model.compile()",
            cannot="each token is a call of its own, and generate() compiles by its own rules"
            if subject.task is not None and subject.task.task is Task.GENERATE
            else "a loss in pieces cannot be compiled"
            if subject.config.chunked_loss is not None
            else "offloaded activations cannot be compiled"
            if subject.config.offloads_activations
            else "",
            is_slow=True,
            promise=((_SAVED, 0.2),),
            excludes=("loss", "activation offload"),
        )
    ]


def _half_in_config(config: StepConfig) -> str:
    return "" if config.precision not in (Precision.BF16, Precision.FP16) else "already so"


def of_the_task(subject: Subject) -> list[LeverRow]:
    """Returns the levers of the task."""
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


def of_the_file(subject: Subject) -> list[LeverRow]:
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
