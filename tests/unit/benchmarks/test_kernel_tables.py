"""Tables of measured kernels: how they are cleaned, fitted and judged; on made-up rows."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from benchmarks.kernels import aiconfigurator
from benchmarks.kernels.__main__ import main, write_constants
from benchmarks.kernels.kinds import KINDS
from benchmarks.kernels.page import page
from benchmarks.kernels.products.fitting import Schedule, fitted, forms
from benchmarks.kernels.products.judging import judge, rates
from benchmarks.kernels.products.reading import Table, at_one_level, fastest, held_out, rate_of
from benchmarks.kernels.records import Figure, JudgedBy, MissingTablesError, figure, is_held_out
from planner.hardware.database import load_gpus
from planner.timing.kernels import Product
from planner.timing.measured.products import FILE, SINGLE, read_nets, time_by

SLOWER = 1.5  # than the roofs, in made-up tables


def made_up(card_id: str) -> Table:
    """Returns products that all take SLOWER times the time of their roofs."""
    card = load_gpus().find(card_id).spec
    sizes = (128, 256, 512, 1024, 2048, 4096)
    products = tuple(Product(batch=1, m=m, n=n, k=k) for m in sizes for n in sizes for k in sizes)
    table = Table(
        card=card,
        part="fp32",
        dtype="float32",
        rate=rate_of(card, "float32"),
        products=products,
        seconds=(),
    )
    seconds = tuple(SLOWER * form.base_s for form in forms(table))
    return Table(
        **{name: getattr(table, name) for name in ("card", "part", "dtype", "rate", "products")},
        seconds=seconds,
    )


def test_a_fifth_of_the_shapes_is_held_out() -> None:
    shapes = [(m, n) for m in range(100) for n in range(20)]
    share = sum(is_held_out(*one) for one in shapes) / len(shapes)
    assert 0.17 < share < 0.23
    assert is_held_out(1, 2) == is_held_out(1, 2)


def test_engines_are_moved_to_one_level_before_their_median() -> None:
    first = {(1, 1, n): n * 1e-6 for n in range(1, 8)}
    slower = {shape: 1.21 * seconds for shape, seconds in first.items()}
    slower[1, 1, 9] = 1.21 * 9e-6  # only this engine has it
    found = at_one_level([first, slower])
    assert found[1, 1, 4] == pytest.approx(1.1 * 4e-6)
    assert found[1, 1, 9] == pytest.approx(1.1 * 9e-6)


def test_the_fastest_engine_counts_where_some_cast_their_operands_too() -> None:
    assert fastest([{(1, 1, 1): 3.0}, {(1, 1, 1): 2.0, (1, 1, 2): 5.0}]) == {
        (1, 1, 1): 2.0, (1, 1, 2): 5.0,
    }  # fmt: skip


def test_figures_of_errors_by_hand() -> None:
    pairs = [(1.1, 1.0), (0.8, 1.0), (1.3, 1.0)]
    found = figure(pairs, kind="k", part="p", card="c", judged_by=JudgedBy.HELD_OUT)
    assert found is not None
    assert found.median == pytest.approx(0.2)
    assert found.bias == pytest.approx(0.1)
    assert found.p90 == pytest.approx(0.3)
    assert figure([], kind="k", part="p", card="c", judged_by=JudgedBy.HELD_OUT) is None


@pytest.mark.slow  # torch
def test_a_net_learns_a_factor_and_says_it_of_a_card_left_out() -> None:
    tables = (made_up("a100-pcie-40gb"), made_up("t4"), made_up("v100-pcie-32gb"))
    known = [forms(one) for one in tables]
    one = fitted(
        tables, known, Schedule(epochs=30, batch=64), is_after_begin=True, left_out=("t4",)
    )
    assert "t4 fp32" not in one["tokens"]
    assert {"* fp32", "7.0 fp32", "8.0 fp32"} <= set(one["tokens"])
    net = read_nets({SINGLE: {**one, "spreads": dict.fromkeys(one["tokens"], 0.1)}})[SINGLE]
    for table in tables:
        for product, seconds in zip(table.products, table.seconds, strict=True):
            if held_out(product):
                found = time_by(net, product, "float32", table.card, rate=table.rate)
                assert abs(math.log(found.total_s / seconds)) < 0.25


def test_constants_are_one_line_for_each_net(tmp_path: Path) -> None:
    file = tmp_path / "constants.json"
    write_constants(file, {"half": {"low": [0.5, 1.0]}, "single": {}})
    assert file.read_text() == '{\n"half":{"low":[0.5,1.0]},\n"single":{}\n}\n'
    assert json.loads(file.read_text())["half"] == {"low": [0.5, 1.0]}


def test_the_page_names_the_worst_card() -> None:
    figures = [
        Figure(
            kind=KINDS[0].name, part="bf16", card=card, judged_by=JudgedBy.HELD_OUT, number=10,
            median=median, p90=0.2, bias=-0.01, spread=0.1,
        )
        for card, median in (("l40s", 0.06), ("t4", 0.04))
    ]  # fmt: skip
    text = page(KINDS[:1], figures, "2026-11-29")
    assert "Worst card, held-out shapes: l40s (bf16), 6.0% in the median" in text
    assert "| bf16 | t4 | held-out shapes | 10 | 4.0% | 20.0% | -1.0% |  |" in text


def test_missing_tables_say_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.path", [])
    with pytest.raises(MissingTablesError, match="pip install --no-deps aiconfigurator-core"):
        aiconfigurator.folder()
    assert main(["--kind", "products"]) == 1
    assert "aiconfigurator-core" in capsys.readouterr().err


@pytest.mark.slow  # torch
def test_judging_has_a_row_for_each_card_and_way(monkeypatch: pytest.MonkeyPatch) -> None:
    tables = {SINGLE: (made_up("a100-pcie-40gb"), made_up("t4"))}
    schedule = Schedule(epochs=3, batch=64)
    monkeypatch.setattr("benchmarks.kernels.products.judging._WITHOUT", {SINGLE: schedule})
    one = fitted(
        tables[SINGLE], [forms(table) for table in tables[SINGLE]], schedule, is_after_begin=True
    )
    document = {SINGLE: {**one, "spreads": dict.fromkeys(one["tokens"], 0.1)}}
    found = [(one.card, one.judged_by) for one in judge(tables, document)]
    assert found == [
        ("a100-pcie-40gb", JudgedBy.HELD_OUT), ("t4", JudgedBy.HELD_OUT),
        ("a100-pcie-40gb", JudgedBy.LEFT_OUT), ("t4", JudgedBy.LEFT_OUT),
    ]  # fmt: skip


DTYPES = {
    "bf16": "bfloat16", "fp32": "float32", "fp8": "float8_e4m3fn",
    "fp8 block": "float8_e4m3fn block", "nvfp4": "float4_e2m1fn_x2",
}  # fmt: skip


def test_the_nets_were_fitted_over_the_rates_of_today() -> None:
    """A change of a card's rates needs `python -m benchmarks.kernels --fit`."""
    for net in json.loads(FILE.read_text(encoding="utf-8")).values():
        for token, fitted_over in net["rates"].items():
            card_id, part = token.split(" ", 1)
            table = Table(
                card=load_gpus().find(card_id).spec,
                part=part,
                dtype=DTYPES[part],
                rate=rate_of(load_gpus().find(card_id).spec, DTYPES[part]),
                products=(),
                seconds=(),
            )
            assert rates([table]) == {token: fitted_over}
