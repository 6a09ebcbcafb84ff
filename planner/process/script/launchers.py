"""A launcher of several processes as one command: its words become those of one rank.

In: the words of a command: those of torchrun, deepspeed or accelerate launch. Out: Launch: the
command that each process runs, and how many there are. Convention: what a launcher would decide
while it runs (a number of GPUs that it looks for) must be said as a number.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from planner.errors import UsageError
from planner.process.script.accelerate import accelerated_launch
from planner.process.script.words import is_python

_MODULES = ("torch.distributed.run", "torch.distributed.launch")
# Options of torchrun without a value (torch/distributed/run.py); all others have one.
_FLAGS = frozenset(
    ("standalone", "module", "m", "no_python", "run_path", "use_env", "signals_to_handle_default")
)
# The same of the command deepspeed (deepspeed/launcher/runner.py).
_FLAGS_OF_DEEPSPEED = frozenset(
    (
        "module", "no_python", "no_local_rank", "no_ssh", "no_ssh_check", "force_multi", "save_pid",
        "bind_cores_to_rank", "elastic_training", "q", "quiet",
    )
)  # fmt: skip
_ELSEWHERE = ("H", "hostfile", "i", "include", "e", "exclude", "autotuning")
_PROCESSES, _HOSTS = "nproc_per_node", "nnodes"
_EXAMPLE = "torchrun --nproc-per-node 8 train.py"
_DEEPSPEED_EXAMPLE = "deepspeed --num_gpus 8 train.py"


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """Processes that train together: the words of one, their number, their machines.

    `environment` are variables that the launcher sets besides those of torchrun.
    """

    words: tuple[str, ...]
    gpus: int
    hosts: int
    environment: tuple[tuple[str, str], ...] = ()


def launch_of(words: Sequence[str], interpreter: Sequence[str], working: Path) -> Launch | None:
    """Returns what a launcher starts; None: the command is no launcher of several processes.

    `interpreter` are the words that start Python there.

    Raises:
        UsageError: the launcher names no script, or no number of processes.
    """
    accelerated = _after_accelerate(words)
    if accelerated is not None:
        return _of_accelerate(accelerated, interpreter, working)
    if words and Path(words[0]).name == "deepspeed":
        return _of_deepspeed(words[1:], interpreter)
    rest = _after_launcher(words)
    if rest is None:
        return None
    options, script = _divided(rest, _FLAGS)
    if not script:
        raise UsageError(f"the launcher starts no script: write it after its options: {_EXAMPLE}")
    flags = {"module", "m"} & options.keys()
    if "no_python" in options:
        started = tuple(script)
    else:
        started = (*interpreter, *(("-m",) if flags else ()), *script)
    per_host = _number(options.get(_PROCESSES, "1"), "--nproc-per-node", _EXAMPLE)
    hosts = _number(options.get(_HOSTS, "1").rpartition(":")[2], "--nnodes", _EXAMPLE)
    return Launch(words=started, gpus=per_host * hosts, hosts=hosts)


def _of_deepspeed(rest: Sequence[str], interpreter: Sequence[str]) -> Launch:
    """Returns what the command deepspeed starts; it gives each process a --local_rank."""
    options, script = _divided(rest, _FLAGS_OF_DEEPSPEED)
    for name in _ELSEWHERE:
        if name in options:
            raise UsageError(
                f"--{name} of deepspeed chooses among GPUs that planner does not look for: say how "
                f"many GPUs each machine has: {_DEEPSPEED_EXAMPLE}"
            )
    if not script:
        raise UsageError(f"deepspeed starts no script: {_DEEPSPEED_EXAMPLE}")
    given = options.get("num_gpus", options.get("num_accelerators", ""))
    per_host = _number(given, "--num_gpus", _DEEPSPEED_EXAMPLE)
    hosts = _number(options.get("num_nodes", "1"), "--num_nodes", _DEEPSPEED_EXAMPLE)
    begin = () if "no_python" in options else (*interpreter, "-u")
    module = ("-m",) if "module" in options else ()
    local = () if "no_local_rank" in options else ("--local_rank=0",)
    return Launch(
        words=(*begin, *module, script[0], *local, *script[1:]),
        gpus=per_host * hosts,
        hosts=hosts,
        environment=(
            ("LOCAL_SIZE", str(per_host)),
            ("CROSS_RANK", "0"),
            ("CROSS_SIZE", str(hosts)),
        ),
    )


def _of_accelerate(rest: Sequence[str], interpreter: Sequence[str], working: Path) -> Launch | None:
    found = accelerated_launch(rest, interpreter, working)
    if found is None:
        return None
    started = (*interpreter, *(("-m",) if found.is_module else ()), *found.script)
    return Launch(
        words=started if found.is_python else found.script,
        gpus=found.gpus,
        hosts=found.hosts,
        environment=found.environment,
    )


def _after_accelerate(words: Sequence[str]) -> list[str] | None:
    """Returns the words after `accelerate launch`."""
    for index, word in enumerate(words[:-1]):
        if Path(word).name == "accelerate" and words[index + 1] == "launch":
            return list(words[index + 2 :])
        if (word, words[index + 1]) == ("-m", "accelerate.commands.launch"):
            return list(words[index + 2 :])
    return None


def _after_launcher(words: Sequence[str]) -> list[str] | None:
    """Returns the words after torchrun or `python -m torch.distributed.run`."""
    if words and Path(words[0]).name == "torchrun":
        return list(words[1:])
    for index, word in enumerate(words[:-2]):
        if is_python(word) and words[index + 1] == "-m" and words[index + 2] in _MODULES:
            return list(words[index + 3 :])
    return None


def _divided(words: Sequence[str], flags: frozenset[str]) -> tuple[dict[str, str], list[str]]:
    """Divides words into the launcher's options, by name, and the script with its arguments.

    `flags` are the options without a value.
    """
    options: dict[str, str] = {}
    left = list(words)
    while left and left[0].startswith("-") and left[0] != "-":
        word = left.pop(0)
        if word == "--":
            break
        name, given, value = word.lstrip("-").partition("=")
        name = name.replace("-", "_")
        if not given and name not in flags:
            value = left.pop(0) if left else ""
        options[name] = value
    return options, left


def _number(text: str, option: str, example: str) -> int:
    if text.isdecimal() and int(text):
        return int(text)
    raise UsageError(
        f"{option} {text!r} of the launcher is no number, and planner looks for no GPUs on this "
        f"machine: write one, like {example}"
    )
