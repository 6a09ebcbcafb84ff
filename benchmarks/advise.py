"""Repeats the plans of `planner advise` by their own commands, and compares its cost and bytes.

    python -m benchmarks.advise
    python -m benchmarks.advise --only resnet50 --only llama-1b

In: jobs that do not fit on their card. Out: for each the plan, whether its own command fits with
the same bytes (0.5 % at most), whether the batch above a confirmed largest one is refused, and the
processor time of advise over that of estimate with the same words. Exit code 1 where one fails.
Seconds are of the processor, of all children: a busy machine does not change them.
"""

from __future__ import annotations

import argparse
import json
import resource
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.command import end_on_signals, run_command

MOST_ERROR = 0.005
MOST_RATIO = 10.0
_LIMIT_S = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A step that does not fit on its card; `words` follow `planner advise`."""

    name: str
    words: str
    needs: str = ""


JOBS = (
    Job(
        name="llama-1b",
        words="models/llama.py:llama_1b --batch 8 --seq 2048 --precision bf16 --gpu rtx3090",
    ),
    Job(
        name="gpt2-large",
        words="hf:openai-community/gpt2-large --batch 8 --seq 1024 --precision fp32 --task pretrain"
        " --optimizer adamw --gpu t4 --gpu-memory 16GiB",
        needs="transformers",
    ),
    Job(
        name="resnet50",
        words="models/resnet50.py --batch 1024 --precision fp32 --gpu rtx3090",
    ),
    Job(
        name="llama-8b-lora",
        words="hf:meta-llama/Llama-3.1-8B --task lora --batch 4 --seq 4096 --gpu rtx4090",
        needs="transformers, peft",
    ),
    Job(
        name="sdxl",
        words="diffusers:stabilityai/stable-diffusion-xl-base-1.0 --image 1024x1024 --batch 1"
        " --optimizer adamw --gpu t4 --gpu-memory 16GiB",
        needs="diffusers",
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A command that has ended: its exit code, its JSON, and seconds of the processor."""

    code: int
    document: dict[str, Any] | None
    cpu_s: float
    stderr: str


def run(words: Sequence[str]) -> Run:
    """Runs `planner WORDS --json`, and returns its document."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    ended = run_command([*words, "--json", "--quiet"], limit_s=_LIMIT_S)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return Run(
        code=ended.code,
        document=json.loads(ended.stdout) if ended.stdout.strip() else None,
        cpu_s=after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
        stderr=ended.stderr,
    )


def faults_of(plan: dict[str, Any], found: Run) -> list[str]:
    """Returns what the plan's own command gives otherwise."""
    if found.document is None:
        return [f"the printed command ends with {found.code}: {found.stderr.strip()[-200:]}"]
    (card,) = found.document["gpus"]
    faults = [] if found.code == 0 and card["fits"] else ["the printed command does not fit"]
    for name in ("peak_reserved_bytes", "device_total_bytes"):
        error = card[name] / plan[name] - 1
        if abs(error) > MOST_ERROR:
            faults.append(f"{name} differs by {error:+.3%}")
    return faults


def above(command: str, plan: dict[str, Any]) -> Run | None:
    """Runs the batch above the largest that the plan confirms; None: it confirms none."""
    if not plan["max_batch_confirmed"]:
        return None
    words = shlex.split(command)[1:]
    words[words.index("--batch") + 1] = str(plan["max_batch_size"] + 1)
    return run([*words, "--no-max-batch"])


def report(job: Job) -> bool:
    """Runs a job and prints its line; returns whether all holds."""
    words = shlex.split(job.words)
    usual, advice = run(["estimate", *words]), run(["advise", *words])
    if advice.document is None or advice.document["plan"] is None:
        why = advice.stderr.strip().splitlines()[-1:] or ["no plan"]
        print(f"{job.name}: exit code {advice.code}: {why[0]}", flush=True)
        return False
    plan = advice.document["plan"]
    faults = faults_of(plan, run(shlex.split(plan["command"])[1:]))
    refused = above(plan["command"], plan)
    if refused is not None and refused.code != 3:
        faults.append(f"batch {plan['max_batch_size'] + 1} is not refused")
    ratio = advice.cpu_s / usual.cpu_s
    if ratio > MOST_RATIO:
        faults.append("it takes too long")
    largest = plan["max_batch_size"] if plan["max_batch_confirmed"] else "not confirmed"
    print(
        f"{job.name}: {' + '.join(plan['levers']) or 'no change'} ({' '.join(plan['flags'])}), "
        f"{plan['device_total_bytes'] / 2**30:.2f} GiB, largest batch {largest}, "
        f"{ratio:.1f} x estimate; {'; '.join(faults) or 'holds'}",
        flush=True,
    )
    return not faults


def main(words: Sequence[str] | None = None) -> int:
    """Runs the jobs; returns 1 where one does not hold."""
    parser = argparse.ArgumentParser(description=__doc__, add_help=True)
    parser.add_argument("--only", action="append", choices=[job.name for job in JOBS])
    chosen = parser.parse_args(words).only or [job.name for job in JOBS]
    end_on_signals()
    held = [report(job) for job in JOBS if job.name in chosen]
    return 0 if all(held) else 1


if __name__ == "__main__":
    sys.exit(main())
