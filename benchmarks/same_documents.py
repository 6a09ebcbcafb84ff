"""The same answers from two checkouts: what commands print is compared as documents and as text.

    python -m benchmarks.same_documents --before DIR [--after DIR] [--only WORD] [--text]

Run it after a change that must move no figure. Each command runs with --json in both checkouts, by
the interpreter that runs this. Exit codes are compared, and the documents key by key (except
measured seconds). With `--text` the reports for people are compared as well, letter by letter.
Paths of the checkout in an answer are left out. Exit code 1 when anything differs.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.command import ROOT, Ended, end_on_signals, run_command

LIMIT_S = 600.0
_MEASURED = frozenset({"seconds"})  # the time of a probe of verify, which always differs
_EXPANDABLE = "--alloc-conf expandable_segments:True"
COMMANDS = (
    "estimate models/resnet50.py --gpu a100",
    "estimate models/gpt2.py --gpu t4 --batch 4 --seq 256 --precision amp-fp16 --accumulate 2",
    "estimate models/llama.py --gpu rtx-4090 --precision bf16 --checkpoint-activations",
    f"estimate models/vit.py --gpu h100 --precision amp-bf16 --channels-last {_EXPANDABLE}",
    "estimate models/bert.py --gpu l4 --gpu v100 --optimizer adam --ema 0.99 --clip-grad-norm 1.0",
    "estimate models/lstm.py --gpu rtx-3090 --mode infer --batch 16",
    "estimate models/unet.py --gpu a10g --data imagenet-jpeg --workers 8 --price '2.49 USD/h'",
    "estimate models/mlp.py --gpu all --batch 4",
    "estimate models/llama.py:llama_8b --gpu t4 --batch 1 --no-max-batch",
    "curve models/mlp.py --gpu t4 --batches 1,2,4,8,64",
    "compare models/mlp.py --gpu t4 --gpu a100 --gpu h100 --by time",
    "inspect models/resnet50.py --depth 2",
    "inspect models/gpt2.py --seq 128 --gpu t4",
    "verify models/mlp.py --emulated t4 --max-batch 64",
    "gpus",
    "gpus show a100",
    "cpus",
    "cpus show epyc-7742",
    "hosts",
    "estimate models/none.py --gpu t4",
    "estimate models/mlp.py --gpu a10000",
)


def main() -> int:
    """Prints what differs, and a count; see the module's text."""
    end_on_signals()
    arguments = _arguments()
    wrong = 0
    commands = [text for text in COMMANDS if arguments.only in text]
    for text in commands:
        for form in ("--json", "")[: 2 if arguments.text else 1]:
            words = [*shlex.split(text), *([form] if form else [])]
            before, after = (
                run_command(words, limit_s=LIMIT_S, checkout=checkout)
                for checkout in (arguments.before, arguments.after)
            )
            differ = list(_differences(before, after, arguments.before, arguments.after, form))
            wrong += bool(differ)
            said = "; ".join(differ[:8]) if differ else "equal"
            print(f"planner {text} {form}: exit code {after.code}, {said}", flush=True)
    print(f"{len(commands)} commands, {wrong} differences")
    return 1 if wrong or not commands else 0


def _differences(
    before: Ended, after: Ended, first: Path, second: Path, form: str
) -> Iterator[str]:
    if before.code != after.code:
        yield f"exit code {before.code} became {after.code}: {after.stderr.strip()[-300:]}"
    one = before.stdout.replace(str(first), "")
    two = after.stdout.replace(str(second), "")
    if before.code in (1, 2):
        one, two = before.stderr.replace(str(first), ""), after.stderr.replace(str(second), "")
    if form and before.code == after.code and before.code not in (1, 2):
        yield from different_keys(json.loads(one), json.loads(two))
    elif one != two:
        yield f"texts differ: {one[-300:]!r} became {two[-300:]!r}"


def different_keys(one: Any, two: Any, path: str = "") -> Iterator[str]:
    """Yields the differences of two documents, as KEY.KEY[3]: BEFORE became AFTER."""
    if isinstance(one, dict) and isinstance(two, dict):
        for key in [*one, *(key for key in two if key not in one)]:
            if key in _MEASURED:
                continue
            below = f"{path}.{key}" if path else key
            if key not in one or key not in two:
                yield f"{below}: {'gone' if key in one else 'new'}"
            else:
                yield from different_keys(one[key], two[key], below)
    elif isinstance(one, list) and isinstance(two, list) and len(one) == len(two):
        for index, (left, right) in enumerate(zip(one, two, strict=True)):
            yield from different_keys(left, right, f"{path}[{index}]")
    elif type(one) is not type(two) or one != two:
        yield f"{path}: {one!r} became {two!r}"[:300]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--before", type=Path, required=True, help="the checkout to compare with")
    parser.add_argument("--after", type=Path, default=ROOT, help="this one, unless it is given")
    parser.add_argument("--only", default="", help="commands that have this in them")
    parser.add_argument("--text", action="store_true", help="the reports for people as well")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
