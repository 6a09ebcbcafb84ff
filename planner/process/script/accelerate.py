"""What `accelerate launch` would start: asked of accelerate itself, in the script's own Python.

In: the words after `accelerate launch`, the interpreter. Out: AcceleratedLaunch. Convention:
accelerate parses its options and its config file and makes the variables of the processes; nothing
is started.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from planner.errors import UsageError
from planner.process.script.asked import MARK, answer_of

_PATIENCE_S = 180.0
_QUESTION = """\
import json, os, sys
import accelerate.commands.launch as launch
before = dict(os.environ)
def several(args):
    made = launch.prepare_multi_gpu_env(args)
    said = {"environment": {k: v for k, v in made.items() if before.get(k) != v},
            "gpus": int(args.num_processes or 1), "hosts": int(args.num_machines or 1),
            "module": bool(args.module), "no_python": bool(args.no_python),
            "script": [args.training_script, *args.training_script_args]}
    print("MARK" + json.dumps(said))
def one(args):
    print("MARK" + json.dumps({"one": True}))
def deepspeed(args):
    print("MARK" + json.dumps({"deepspeed": True}))
launch.multi_gpu_launcher, launch.simple_launcher = several, one
launch.deepspeed_launcher = deepspeed
launch.main()
""".replace("MARK", MARK)


@dataclass(frozen=True, slots=True, kw_only=True)
class AcceleratedLaunch:
    """The script with its arguments, the processes, and the variables that accelerate sets."""

    script: tuple[str, ...]
    is_module: bool
    is_python: bool
    gpus: int
    hosts: int
    environment: tuple[tuple[str, str], ...]


def accelerated_launch(
    rest: Sequence[str], interpreter: Sequence[str], working: Path
) -> AcceleratedLaunch | None:
    """Returns what accelerate would start; None: one process, which needs no launcher.

    Raises:
        UsageError: accelerate refuses its options, or they ask for DeepSpeed.
    """
    said = answer_of(
        interpreter,
        _QUESTION,
        rest,
        working=working,
        patience_s=_PATIENCE_S,
        not_started="accelerate does not answer what it would launch",
        no_answer="accelerate launch does not take these words",
    )
    if "deepspeed" in said:
        raise UsageError(
            "accelerate launch was asked for DeepSpeed, which planner run plays for scripts that "
            "call deepspeed.initialize themselves (-- deepspeed --num_gpus 8 train.py): take "
            "--use_fsdp, or --multi_gpu"
        )
    if "one" in said:
        return None
    return AcceleratedLaunch(
        script=tuple(said["script"]),
        is_module=said["module"],
        is_python=not said["no_python"],
        gpus=said["gpus"],
        hosts=said["hosts"],
        environment=tuple(sorted(said["environment"].items())),
    )
