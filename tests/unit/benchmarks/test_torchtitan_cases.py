"""The model file of torchtitan's runs: sizes as published, arguments as the rows have them."""

from __future__ import annotations

import importlib
import inspect
from types import ModuleType

import pytest

from benchmarks.accuracy.sources import SOURCES
from benchmarks.record.rows import read_cases

torch = pytest.importorskip("torch")
NAMES = ("several-gpus", "several-gpus-fits")
# Published: https://arxiv.org/abs/2307.09288 and https://arxiv.org/abs/2407.21783, as built by
# transformers from the configurations of both.
PARAMETERS = {
    "llama-2-7b": 6_738_415_616,
    "llama-2-13b": 13_015_864_320,
    "llama-2-70b": 68_976_648_192,
    "llama-3-8b": 8_030_261_248,
    "llama-3-70b": 70_553_706_496,
}


@pytest.fixture(scope="module")
def module() -> ModuleType:
    return importlib.import_module("benchmarks.accuracy.cases.torchtitan_llama")


@pytest.mark.parametrize("name", PARAMETERS)
def test_a_model_has_its_published_parameters(module: ModuleType, name: str) -> None:
    with torch.device("meta"):
        built = module.Llama(module.SIZES[name], "by hand", 2048, casts=True)
    assert sum(one.numel() for one in built.parameters()) == PARAMETERS[name]


@pytest.mark.parametrize("source", NAMES)
def test_a_row_has_what_build_model_takes(module: ModuleType, source: str) -> None:
    wanted = set(inspect.signature(module.build_model).parameters)
    for case in read_cases(SOURCES[source]):
        given = dict(case.step.arguments)
        assert set(given) == wanted
        assert given["name"] in module.SIZES
        assert given["loop"] in module.LOOPS
        assert given["norm"] in ("by hand", "fused")
        assert given["sharding"] in ("FSDP1", "FSDP2")


def test_each_nth_block_is_checkpointed(module: ModuleType) -> None:
    module._run = module.Run(
        vocabulary=8, sequence=8, loop=module.LOOPS["2024-04"], checkpointing="2",
        sharding="FSDP2", reduces_apart=True,
    )  # fmt: skip
    blocks = [torch.nn.Linear(1, 1) for _ in range(4)]
    wrapped = [module.checkpointed(one, number) is not one for number, one in enumerate(blocks)]
    assert wrapped == [False, True, False, True]


def test_the_norm_by_hand_is_that_of_torch(module: ModuleType) -> None:
    x = torch.randn(3, 16, generator=torch.Generator().manual_seed(1))
    by_hand, fused = (module.norm_of(kind, 16)(x) for kind in ("by hand", "fused"))
    torch.testing.assert_close(by_hand, fused)


def test_streams_are_recorded_for_what_goes_into_a_collective_and_what_comes_out(
    module: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torch.distributed import _functional_collectives as collectives

    recorded = []

    class Tensor:
        def __init__(self, name: str) -> None:
            self.name = name

        def record_stream(self, stream: object) -> None:
            recorded.append((self.name, stream))

    class Waiting:  # as torch wraps the result of a collective that is under way
        elem = Tensor("out")

    monkeypatch.setattr(torch.cuda, "Stream", lambda: "side")
    for name in ("all_reduce", "all_gather_single", "reduce_scatter_single"):
        monkeypatch.setattr(collectives, name, lambda *given: Waiting())
    module.record_streams_of_collectives()
    assert isinstance(collectives.all_gather_single(Tensor("in"), 0, "group"), Waiting)
    assert recorded == [("in", "side"), ("out", "side")]


def test_only_the_loop_of_march_2024_records_streams(module: ModuleType) -> None:
    assert {name for name, loop in module.LOOPS.items() if loop.records_streams} == {"2024-03"}
