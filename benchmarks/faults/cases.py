"""The hostile files of models/ and the right answer for each: exit codes, message, time.

Convention: the right answer, whether or not planner gives it today.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

MODELS = Path(__file__).resolve().parent / "models"
# How often a file is run: those of the second number failed now and then, not always.
RUNS, RUNS_OF_RARE = 3, 20

DONE = (0,)
TOO_LARGE = (3,)
ERROR = (1,)

_FAILED_NOW_AND_THEN = """
    wandb_like children_import fork_bomb_small forge_loaded monkey sigstop loop_no_signals
    base_exception base_exception_import keyboard_interrupt keyboard_interrupt_forward
    keyboard_interrupt_import generator_exit close_fds close_fds_import
"""
RARE = frozenset(_FAILED_NOW_AND_THEN.split())  # fmt: skip
# For files that never end by themselves; the time includes loading torch on a busy machine.
IMPATIENT = ("--timeout", "45")


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A hostile file."""

    name: str
    codes: tuple[int, ...]
    says: str = ""  # a regular expression that stderr matches, with an error
    options: tuple[str, ...] = ()
    limit_s: float = 240.0

    @property
    def path(self) -> Path:
        """Returns the path of the model file."""
        return MODELS / f"{self.name}.py"

    @property
    def runs(self) -> int:
        """Returns the default number of runs."""
        return RUNS_OF_RARE if self.name in RARE else RUNS

    @property
    def arguments(self) -> tuple[str, ...]:
        """Returns the arguments of the command."""
        return ("estimate", str(self.path), "--gpu", "t4", "--json", "--quiet", *self.options)


def _all(codes: tuple[int, ...], names: str, says: str = "") -> list[Case]:
    return [Case(name=name, codes=codes, says=says) for name in names.split()]


def _endless(names: str) -> list[Case]:
    says = r"did not answer|no answer|within|45"
    return [Case(name=name, codes=ERROR, says=says, options=IMPATIENT) for name in names.split()]


def _large() -> Case:
    """Returns a case of 100,000 layers: takes minutes; a time-out must name the place or number."""
    options = ("--no-max-batch", "--timeout", "120")
    says = "100,?00[12] modules|the model is being built|in build_model"
    return Case(name="enormous_list", codes=(0, 1, 3), says=says, options=options)


CASES = (
    _large(),
    *_all(DONE, "ok atexit_hang chdir children children_import closed_std default_dtype"),
    *_all(DONE, "empty_param escape_names"),
    *_all(DONE, "faulthandler_on fork_bomb_small mp_spawn print_much respawn stop_supervisor"),
    *_all(DONE, "wandb_like"),
    *_all(DONE, "cuda_hidden default_device_cuda default_device_meta dyn_fail_at_big"),
    *_all(DONE, "flat_then_steep rlimit"),
    *_all(TOO_LARGE, "enormous enormous16"),
    *_all(ERROR, "frozen zero", "no trainable parameter"),
    *_all(ERROR, "monkey", "unreadable"),
    *_all(ERROR, "monkey_tensor", "same device"),
    *_all(ERROR, "nan_loss none_loss", "return a scalar tensor"),
    *_all(ERROR, "overflow", "overflowed"),
    *_all(ERROR, "write_fds", "before it had a result|wrote|written"),
    *_all(ERROR, "abort_backward", "abort|SIGABRT|native"),
    *_all(ERROR, "argparse_main sys_exit sys_exit_import", "SystemExit|exit"),
    *_all(ERROR, "bad_str bad_str_base", "Bad"),
    *_all(ERROR, "base_exception", "Odd: odd"),
    *_all(ERROR, "base_exception_import", "BaseException: at import"),
    *_all(ERROR, "batch_wrong", "batch"),
    *_all(ERROR, "big_doc", "ValueError: E"),
    *_all(ERROR, "close_fds close_fds_import", "descriptor"),
    *_all(ERROR, "forge_loaded write_fds_import", "descriptor|wrote|unreadable"),
    *_all(ERROR, "escape_error", "ValueError"),
    *_all(ERROR, "generator_exit", "GeneratorExit"),
    *_all(ERROR, "keyboard_interrupt keyboard_interrupt_forward", "KeyboardInterrupt"),
    *_all(ERROR, "keyboard_interrupt_import", "KeyboardInterrupt"),
    *_all(ERROR, "kill_parent kill_supervisor", "SIGKILL|killed|ended|left"),
    *_all(ERROR, "os_exit os_exit0_import", "exit code|ended|left"),
    *_all(ERROR, "recursion", "RecursionError"),
    *_all(ERROR, "segv segv_import", "SIGSEGV|native"),
    *_all(ERROR, "stack_overflow", "SIGSEGV|RecursionError|native"),
    *_endless("loop_forward loop_import loop_no_signals sigstop"),
)  # fmt: skip
