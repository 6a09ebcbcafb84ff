"""Random combinations of options as whole commands, and every card with three models.

    python -m benchmarks.option_fuzz [--count 300] [--seed 1] [--first 0] [--minutes 60] [--cards]
                                     [--checkout DIR]

Each combination depends only on the seed and its number, so that one can be repeated. Checked: the
exit code that is right for its values, no traceback of planner, strict JSON, an empty stdout with
an error, no process and no temporary file left, an answer in the time. `--cards` runs estimates of
mlp, resnet50 and gpt2 on each card instead of the random ones. Runs that the time does not reach
are counted. Exit code 1 when a run was wrong or was not reached.
"""

from __future__ import annotations

import argparse
import random
import shlex
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from benchmarks.command import ROOT, end_on_signals, faults, run_command

LIMIT_S = 300.0
CARD_MODELS = ("mlp", "resnet50", "gpt2")
MODELS = tuple(sorted(path.stem for path in (ROOT / "models").glob("*.py")))
CARDS = tuple(sorted(path.stem for path in (ROOT / "hardware_db" / "gpus").glob("*.yaml")))
# Cards of other vendors are listed but cannot be emulated: a request for one is wrong usage.
EMULATED = frozenset(
    card
    for card in CARDS
    if "\nvendor: nvidia\n" in (ROOT / "hardware_db" / "gpus" / f"{card}.yaml").read_text()
)
DONE = {
    "estimate": {0, 3},
    "curve": {0, 3},
    "compare": {0, 3},
    "inspect": {0},
    "verify": {0, 4},
}
_MOST_OPTIONS = 5


class Verdict(Enum):
    """Whether a value is right. EITHER: it depends on the model or on other options."""

    RIGHT = "right"
    WRONG = "wrong"
    EITHER = "either"


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """One command and the exit codes that are right for it."""

    arguments: tuple[str, ...]
    codes: frozenset[int]


def _values(right: str, wrong: str = "", either: str = "") -> tuple[tuple[str, Verdict], ...]:
    """Returns the values of an option, split by "|"; an empty value is a flag alone."""
    return (
        *((value, Verdict.RIGHT) for value in right.split("|")),
        *((value, Verdict.WRONG) for value in wrong.split("|") if wrong),
        *((value, Verdict.EITHER) for value in either.split("|") if either),
    )


_EVERYWHERE = {
    "--batch": _values("1|4|16", "0|-1|x|1.5"),
    "--seq": _values("", "0|many", "16|64") [1:],
    "--precision": _values("as-built|fp32|fp16|bf16|amp-fp16|amp-bf16", "fp99"),
    "--data-dependent": _values("typical|most", "never"),
    "--timeout": _values("10m|300", "never|-5|0"),
    "--model-arg": _values("", "", "nothing=1|x")[1:],
    "--input": _values("", "3y4", "3x64x64|ids=16:int64")[1:],
}  # fmt: skip
_OF_A_STEP = {
    "--mode": _values("train", "sleep"),
    "--optimizer": _values(
        "sgd|sgd-momentum|sgd-fused|adam|adamw|adamw-fused|adagrad|rmsprop",
        "best",
        "lion|muon|adafactor|adam8bit|none",
    ),
    "--optimizer-arg": _values("", "lr", "lr=0.1|nothing=1")[1:],
    "--channels-last": _values(""),
    "--checkpoint-activations": _values("", "", ""),
    "--checkpoint-blocks": _values("all", "every:0|", "every:2|first:1|nothing"),
    "--chunked-loss": _values("", "1|x", "2|8")[1:],
    "--compile": _values("off", "fast", "default"),
    "--optimizer-in-backward": _values("", "", ""),
    "--offload": _values("activations|optimizer", "disk"),
    "--accumulate": _values("1|2|4", "0|x"),
    "--clip-grad-norm": _values("1.0", "x|-1"),
    "--ema": _values("0.9", "2"),
    "--no-set-to-none": _values(""),
    "--steps": _values("1|2|3", "0"),
    "--build-on": _values("meta|cpu|device", "moon"),
    "--alloc-conf": _values("expandable_segments:True|max_split_size_mb:128", "garbage"),
}  # fmt: skip
_OF_A_CARD = {
    "--gpu-memory": _values("24GiB|80GiB", "0|much|-1GiB"),
    "--reserve": _values("5%|1GiB|0", "200%|x"),
    "--no-calibration": _values(""),
    "--data": _values("imagenet-jpeg|tokens|tensor", "nonsense"),
    "--workers": _values("4", "-1|x", "none|0"),
    "--prefetch-factor": _values("", "0", "2")[1:],
    "--cpu": _values("", "nocpu", "epyc-7742")[1:],
    "--ram": _values("64GiB", "x"),
    "--price": _values("2.49 USD/h", "cheap"),
    "--dataset-size": _values("50k|1.28M", "-5|some"),
    "--pue": _values("1.2", "0.5|x"),
}
_OF_AN_ESTIMATE = _EVERYWHERE | _OF_A_STEP | _OF_A_CARD
OPTIONS = {
    "estimate": _OF_AN_ESTIMATE | {"--no-max-batch": _values("")},
    "curve": _OF_AN_ESTIMATE | {"--batches": _values("1,2,4", "x|0,1")},
    "compare": _OF_AN_ESTIMATE | {"--by": _values("time|cost|energy", "luck")},
    "inspect": _EVERYWHERE | {"--depth": _values("0|2", "-1")},
    "verify": _EVERYWHERE
    | _OF_A_STEP
    | {"--tolerance": _values("3%|0.5", "x"), "--reserve": _OF_A_CARD["--reserve"]},
}  # fmt: skip
_SHARES = {"estimate": 5, "curve": 2, "compare": 2, "inspect": 2, "verify": 2}


def drawn(seed: int, number: int) -> Drawn:
    """Draws the command with this number."""
    dice = random.Random(f"{seed}-{number}")
    command = dice.choices(list(_SHARES), list(_SHARES.values()))[0]
    arguments, verdicts = [command, f"models/{dice.choice(MODELS)}.py"], [Verdict.RIGHT]
    count = {"compare": 2, "inspect": 0}.get(command, 1)
    flag = "--emulated" if command == "verify" else "--gpu"
    cards = dice.sample(CARDS, count)
    for card in cards:
        arguments += [flag, card]
    # compare lists a card that cannot be emulated with the others; alone it is wrong usage.
    answered = [card in EMULATED for card in cards]
    enough = any(answered) if command == "compare" else all(answered)
    verdicts.append(Verdict.RIGHT if enough else Verdict.WRONG)
    if command == "verify":
        arguments += ["--max-batch", str(dice.choice((1, 8, 64)))]
    table = OPTIONS[command]
    for name in dice.sample(sorted(table), dice.randint(0, min(_MOST_OPTIONS, len(table)))):
        value, verdict = _value(dice, table[name])
        arguments += [name, value] if value else [name]
        verdicts.append(verdict)
    if dice.random() < 0.75:
        arguments.append("--json")
    return Drawn(arguments=(*arguments, "--quiet"), codes=_codes(command, verdicts))


def _value(dice: random.Random, values: tuple[tuple[str, Verdict], ...]) -> tuple[str, Verdict]:
    """Draws a value, a wrong one less often, so that most commands run."""
    weights = [0.15 if verdict is Verdict.WRONG else 1.0 for _, verdict in values]
    return dice.choices(values, weights)[0]


def _codes(command: str, verdicts: list[Verdict]) -> frozenset[int]:
    if Verdict.WRONG in verdicts:
        return frozenset({2})
    # A model that does not take an option is an error of the model or of the usage.
    more = {1, 2} if Verdict.EITHER in verdicts else set()
    return frozenset(DONE[command] | more)


def _of_cards() -> Iterator[Drawn]:
    for card in CARDS:
        for model in CARD_MODELS:
            yield Drawn(
                arguments=("estimate", f"models/{model}.py", "--gpu", card, "--json", "--quiet"),
                codes=frozenset(DONE["estimate"] if card in EMULATED else {2}),
            )


def main() -> int:
    """Prints every wrong run and the counts; see the module's text."""
    end_on_signals()
    arguments = _arguments()
    numbers = range(arguments.first, arguments.first + arguments.count)
    asked = list(_of_cards()) if arguments.cards else [drawn(arguments.seed, n) for n in numbers]
    ends = time.monotonic() + arguments.minutes * 60
    counts: Counter[str] = Counter()
    for number, one in enumerate(asked, start=0 if arguments.cards else arguments.first):
        if time.monotonic() > ends:
            break
        ended = run_command(
            one.arguments, limit_s=LIMIT_S, checkout=arguments.checkout, niceness=10
        )
        counts[f"{one.arguments[0]} {ended.code}"] += 1
        wrong = faults(ended, codes=one.codes)
        if wrong:
            counts["wrong"] += 1
            print(f"{number}: planner {shlex.join(one.arguments)}\n  {'; '.join(wrong)}")
            print(f"  {ended.stderr.strip()[-1000:]}", flush=True)
        elif sys.stderr.isatty() or number % 10 == 0:
            print(f"{number}: {ended.code}, {ended.seconds:.0f} s", file=sys.stderr, flush=True)
    run = sum(counts.values()) - counts["wrong"]
    missed = len(asked) - run
    print(f"{run} of {len(asked)} commands run, {counts['wrong']} wrong, {missed} not reached")
    print(", ".join(f"{name}: {count}" for name, count in sorted(counts.items())))
    return 1 if counts["wrong"] or run < len(asked) else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0, help="number of the first command")
    parser.add_argument("--minutes", type=float, default=60.0, help="no run starts after this time")
    parser.add_argument("--cards", action="store_true", help="every card with three models")
    parser.add_argument("--checkout", type=Path, default=ROOT, help="whose planner is run")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
