"""The largest image and the most frames: their units, what is refused, and a search by runs."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

import planner
from planner.config.generation import ImageSize
from planner.config.parallel import ParallelConfig
from planner.config.published import Library, PublishedModel, Task, TaskConfig
from planner.config.step import StepConfig
from planner.config.target import Target, TargetKind
from planner.errors import UsageError
from planner.estimation.alloc_conf import AllocatorPlan
from planner.estimation.context import RunContext
from planner.estimation.largest_search import AxisSearch, RecordedStep
from planner.estimation.probes import Axis, ProbeRuns
from planner.estimation.request import EstimateRequest
from planner.estimation.size_axes import FramesAxis, ImageAxis, size_axes
from planner.memory.allocator.options import parse_alloc_conf
from planner.memory.budget import memory_budgets
from planner.memory.largest import LargestValue, Method
from planner.units import MIB
from planner.wire.trace import RunOutcome, StepTrace

WAN = {"components": {"vae": {"config": {"scale_factor_temporal": 4}}}}
SD = {"components": {"vae": {"config": {}}}}


@dataclass
class Asked:
    """The parts of a request that decide its axes."""

    target: Any
    config: StepConfig = field(default_factory=StepConfig)


def asked(
    document: Any = WAN, library: Library = Library.DIFFUSERS, config: Any = None, **task: Any
) -> EstimateRequest:
    published = PublishedModel(
        library=library,
        name="org/name",
        config=json.dumps(document),
        task=TaskConfig(**{"task": Task.GENERATE, **task}),
    )
    target = Target(kind=TargetKind.LIBRARY, location="diffusers:org/name", published=published)
    return cast(EstimateRequest, Asked(target=target, config=config or StepConfig()))


@pytest.mark.parametrize(
    ("image", "unit", "value", "size"),
    [
        ((512, 512), 64, 8, (512, 512)),
        ((512, 512), 64, 31, (1984, 1984)),
        ((480, 832), 32, 15, (480, 832)),
        ((832, 480), 32, 15, (832, 480)),
        ((480, 832), 32, 16, (512, 896)),  # 16 * 26 / 15 = 27.7 units, so 28
        ((480, 832), 32, 14, (448, 768)),  # 24.3
        ((1080, 1920), 8, 135, (1080, 1920)),
        ((768, 1024), 64, 12, (768, 1024)),
        ((512, 512), 64, 0, (0, 0)),
    ],
)
def test_an_image_keeps_its_ratio(
    image: tuple[int, int], unit: int, value: int, size: tuple[int, int]
) -> None:
    (axis,) = size_axes(asked(image=image), "image")
    assert isinstance(axis, ImageAxis)
    assert (axis.unit, axis.image(value)) == (unit, size)
    assert axis.words(value) == f"{size[0]}x{size[1]}"
    height, width = size
    assert axis.at(StepConfig(), value).size == ImageSize(height=height, width=width)
    assert axis.image(axis.size_of(StepConfig()) // unit) == image  # the requested one is a value


def test_frames_are_those_of_whole_latents() -> None:
    (axis,) = size_axes(asked(frames=81), ["frames"])
    assert isinstance(axis, FramesAxis)
    assert [axis.clip(value) for value in (0, 1, 2, 21, 22)] == [0, 1, 5, 81, 85]
    assert axis.size_of(StepConfig()) == 21 * axis.unit
    assert axis.at(StepConfig(), 22).size == ImageSize(frames=85)
    assert axis.words(22) == "85"


def test_both_are_searched_in_one_order() -> None:
    found = size_axes(asked(frames=81, image=(480, 832)), ("frames", "image"))
    assert [type(axis) for axis in found] == [ImageAxis, FramesAxis]
    assert size_axes(asked(), ()) == ()


@pytest.mark.parametrize(
    ("request_", "largest", "message"),
    [
        (asked(image=(512, 512)), "width", "largest 'width' is not one of image, frames"),
        (asked(), "image", "add one of the ratio that the images are to have, like --image 512x5"),
        (asked(image=(500, 500)), "image", "no multiples of 8"),
        (asked(), "frames", "add some, like --frames 17"),
        (asked(frames=80), "frames", "has 4k [+] 1 frames, so give 77 or 81"),
        (asked(SD, frames=16), "frames", "decoder of org/name does not say how many"),
        (asked(task=Task.INFER, image=(64, 64)), "image", "with --task generate"),
        (asked(library=Library.TRANSFORMERS), "image", "with --task generate"),
        (cast(EstimateRequest, Asked(target="net.py")), "image", "the target makes none"),
        (
            asked(image=(64, 64), config=StepConfig(parallel=ParallelConfig(gpus=2))),
            "image",
            "leave --num-gpus and --parallel out",
        ),
    ],
    ids=lambda one: one if isinstance(one, str) else "",
)
def test_what_cannot_be_searched_is_refused(
    request_: EstimateRequest, largest: str, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        size_axes(request_, largest)


class Images:
    """A step that needs 1000 MiB, 1 KiB for each pixel, and 10 MiB for each frame."""

    capacity_bytes = 0

    def __init__(self) -> None:
        self.ran: list[ImageSize] = []

    def run(self, profile: str, config: StepConfig) -> StepTrace:
        """Returns the run of the size in `config`."""
        assert config.size is not None
        self.ran.append(config.size)
        return trace(config.size, self.capacity_bytes)


class Cards:
    """Profiles that nothing reads."""

    def limited(self, budget: object) -> str:
        """Returns a profile."""
        return "limited"


def trace(size: ImageSize, capacity_bytes: int) -> StepTrace:
    pixels = (size.height or 0) * (size.width or 0)
    needed = 1000 * MIB + 1024 * pixels + 10 * MIB * (size.frames or 0)
    fits = needed <= capacity_bytes
    return StepTrace(
        outcome=RunOutcome.COMPLETED if fits else RunOutcome.OUT_OF_MEMORY,
        batch_size=1,
        peak_allocated_bytes=needed,
        peak_active_bytes=needed,
        peak_reserved_bytes=needed,
    )


def searched(axis: Axis, requested: ImageSize) -> tuple[LargestValue, Images]:
    """Searches on a card with 10240 - 198 MiB for tensors."""
    (budget,) = memory_budgets(["t4"], hardware_db=None, gpu_memory="10GiB", reserve=0)
    runner = Images()
    runner.capacity_bytes = budget.capacity_bytes
    setup = RunContext(
        config=StepConfig(batch_size=1),
        plan=AllocatorPlan(text="", in_force=parse_alloc_conf("", "2.14.1")),
        runner=cast(Any, runner),
        cards=cast(Any, Cards()),
        progress=lambda _: None,
    )
    runs = ProbeRuns(setup=setup, budget=budget, axis=axis)
    recorded = RecordedStep(trace=trace(requested, budget.capacity_bytes))
    return AxisSearch(runs=runs, recorded=recorded, fits=True).largest(), runner


def test_the_largest_image_is_searched_by_runs_where_a_replay_cannot() -> None:
    # (10042 - 1000) MiB / 1 KiB = 9259008 pixels: 3042 in a side, so 47 * 64 = 3008
    axis = ImageAxis(height=512, width=512, unit=64)
    found, runner = searched(axis, ImageSize(height=512, width=512))
    assert axis.image(found.capacity.largest) == (3008, 3008)
    assert (found.method, found.is_confirmed) == (Method.RUNS, True)
    assert ImageSize(height=3072, width=3072) in runner.ran
    assert ImageSize(height=512, width=512) not in runner.ran  # that one was run before


def test_the_most_frames_are_searched_by_runs() -> None:
    # (10042 - 1000) / 10 = 904 frames, and 4k + 1 of them are 901
    axis = FramesAxis(frames=81, unit=4)
    found, runner = searched(axis, ImageSize(frames=81))
    assert axis.clip(found.capacity.largest) == 901
    assert {ImageSize(frames=901), ImageSize(frames=905)} <= set(runner.ran)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"gpu": "all"}, "every card .gpu all."),
        ({"device": "cpu"}, "device cpu"),
    ],
    ids=str,
)
def test_a_size_is_searched_on_named_cards_alone(options: Any, message: str) -> None:
    with pytest.raises(UsageError, match=f"{message}: it is searched on cards that are named"):
        planner.estimate("diffusers:org/name", task="generate", largest="image", **options)
