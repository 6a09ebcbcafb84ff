"""The options for the task of a published model, shared by every command that runs a step.

In: the words on the command line. Out: options under the names of TaskConfig. Convention: an option
that was not given is left out, so that only the library has the defaults.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from planner.cli.options import AT_LEAST_1, only_given, words
from planner.config.generation import KvCache
from planner.config.published import Attention, Like, Quant, Task
from planner.published.words import NAMES

_OPTIONS: tuple[Callable[[Any], Any], ...] = (
    click.option(
        "--task",
        type=words(Task),
        show_default="finetune; infer with --mode infer",
        help="What a published model (hf:org/name) does.",
    ),
    click.option(
        "--lora-rank",
        metavar="N",
        type=AT_LEAST_1,
        show_default="that of peft",
        help="Rank of the adapters of --task lora or qlora, like 16.",
    ),
    click.option(
        "--lora-alpha",
        metavar="N",
        type=AT_LEAST_1,
        show_default="that of peft",
        help="Scale of the adapters, like 32.",
    ),
    click.option(
        "--lora-targets",
        metavar="NAMES",
        multiple=True,
        show_default="those of peft",
        help="Modules that get adapters, like q_proj,v_proj, or all-linear; repeatable.",
    ),
    click.option(
        "--quant",
        type=words(Quant),
        show_default="nf4 with --task qlora, else none",
        help="How frozen weights are quantised by bitsandbytes.",
    ),
    click.option(
        "--freeze",
        metavar="PATTERN",
        multiple=True,
        show_default="none",
        help="Parameters that do not train, by name, like 'vision_tower.*'; repeatable.",
    ),
    click.option(
        "--image",
        metavar="HxW",
        show_default="that of the model",
        help="Size of an image, like 1024x1024.",
    ),
    click.option(
        "--frames",
        metavar="N",
        type=AT_LEAST_1,
        show_default="those of the model",
        help="Frames of a clip, like 16.",
    ),
    click.option(
        "--new-tokens",
        metavar="N",
        type=AT_LEAST_1,
        show_default="128",
        help="Tokens that --task generate writes, like 256.",
    ),
    click.option(
        "--num-beams",
        metavar="N",
        type=AT_LEAST_1,
        show_default="1, greedy",
        help="Beams of --task generate, like 4.",
    ),
    click.option(
        "--kv-cache",
        type=words(KvCache),
        show_default="dynamic",
        help="Cache of --task generate: it grows with each token, or has room for all of them.",
    ),
    click.option(
        "--attention",
        type=words(Attention),
        show_default="that of the library",
        help="Implementation of attention in transformers, or of the denoiser of a pipeline.",
    ),
    click.option(
        "--denoise-steps",
        metavar="N",
        type=AT_LEAST_1,
        show_default="those of the pipeline",
        help="Steps of denoising of a pipeline of diffusers, like 28.",
    ),
    click.option(
        "--vae",
        metavar="HOW",
        multiple=True,
        show_default="whole",
        help="How the decoder of a pipeline saves memory, like slicing or tiling; repeatable.",
    ),
    click.option(
        "--like",
        type=words(Like),
        show_default="trainer",
        help="The training program whose habits are taken where they move memory.",
    ),
)

task_options = only_given(NAMES, _OPTIONS)
