"""Figures: medians of ratios round by round, quartiles, limits on the right side."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

import pytest

from scone_preload.bench.figures import find, quartiles
from scone_preload.bench.model import BASE, Against, Figure, Limit, Mode, Probe, Result, Row, Setting
from scone_preload.bench.report import as_json, as_table
from scone_preload.bench.rows import ROWS, chosen

LIMITS = {Mode.SYNC: Limit(0.95, 0.98), Mode.ASYNC: Limit(0.92, 1.05)}
RATE = Figure("rate", "requests/s", Against.RATIO, True, LIMITS)
COST = Figure("cost", "µs", Against.RATIO, False, {Mode.SYNC: Limit(1.15, 1.05)}, 2)
ADDED = Figure("ms", "ms", Against.ADDED, False, {Mode.SYNC: Limit(8, 3)})
ALONE = Figure("ns", "ns", Against.ALONE, False, {Mode.ASYNC: Limit(700, 450)})


@contextmanager
def _never(_: Setting) -> Iterator[Probe]:
    raise AssertionError("this row is not run")
    yield


def result(figure: Figure, **values: list[float]) -> Result:
    samples: dict[Mode, list[Mapping[str, float]]] = {mode: [] for mode in Mode}
    for name, numbers in values.items():
        samples[Mode(name)] = [{figure.name: number} for number in numbers]
    facts = {Mode.ASYNC: {"calls": 2.26, "crossings": 0.13}}
    return Result(Row("row-name", "row title", (figure,), _never), samples, facts)


def test_a_ratio_compares_each_round_with_its_own_native_run() -> None:
    # The machine halves its speed in the second round: the ratio of medians would be 60 / 75.
    found = find(result(RATE, native=[100, 50], sync=[96, 48]), RATE, Mode.SYNC)
    assert found is not None
    assert found.value == pytest.approx(0.96)
    assert (found.base, found.wrapped) == (75, 72)
    assert (found.must, found.aim) == (True, False)


def test_quartiles_lie_between_neighbours() -> None:
    assert quartiles([4, 1, 3, 2, 5]) == (2, 4)
    assert quartiles([1, 2]) == (1.25, 1.75)
    assert quartiles([7]) == (7, 7)


@pytest.mark.parametrize(("value", "must", "aim"), [(1.2, False, False), (1.1, True, False), (1.0, True, True)])
def test_a_cost_must_stay_below_its_limits(value: float, must: bool, aim: bool) -> None:
    found = find(result(COST, native=[2.0], sync=[2.0 * value]), COST, Mode.SYNC)
    assert found is not None
    assert (found.must, found.aim) == (must, aim)


def test_an_added_figure_is_the_difference_and_one_alone_needs_no_native_run() -> None:
    added = find(result(ADDED, native=[1, 2, 3], sync=[5, 6, 9]), ADDED, Mode.SYNC)
    alone = find(result(ALONE, **{"async": [500.0]}), ALONE, Mode.ASYNC)
    assert added is not None
    assert alone is not None
    assert (added.value, added.must, added.aim) == (4, True, False)
    assert (alone.base, alone.value, alone.must, alone.aim) == (None, 500, True, False)


def test_a_figure_without_samples_or_without_its_native_run_is_not_judged() -> None:
    assert find(result(RATE, native=[1.0]), RATE, Mode.SYNC) is None
    assert find(result(RATE, sync=[1.0]), RATE, Mode.SYNC) is None


def test_the_table_names_limits_and_crossings() -> None:
    text = as_table([result(RATE, native=[100.0], sync=[90.0], **{"async": [110.0]})])
    sync, wrapped_async = text.splitlines()[2:]
    assert "0.900 x (0.90..0.90)  ≥ 0.95 NO" in sync
    assert "≥ 0.92 yes  ≥ 1.05 yes" in wrapped_async
    assert "calls 2.26, crossings 0.13" in wrapped_async
    assert '"must_reached": false' in as_json([result(RATE, native=[100.0], sync=[90.0])])


FILE_RATE = Figure("rate", "1/s", Against.RATIO, True, peers={Mode.GOCRYPTFS: Limit(2.0), Mode.CIPHER: Limit(0.5)})


@pytest.mark.parametrize(("gocryptfs", "must"), [(40.0, 2.0), (60.0, 1.0)])
def test_a_gocryptfs_that_keeps_up_with_native_need_only_be_reached(gocryptfs: float, must: float) -> None:
    one = result(FILE_RATE, native=[100.0], sync=[70.0], gocryptfs=[gocryptfs])
    found = find(one, FILE_RATE, Mode.SYNC, Mode.GOCRYPTFS)
    assert found is not None
    assert (found.limit.must, found.must) == (must, gocryptfs == 60)


def test_peers_are_shown_against_native_and_each_wrapped_mode_against_them() -> None:
    one = result(FILE_RATE, native=[100.0], sync=[50.0], gocryptfs=[20.0], cipher=[200.0])
    one = replace(one, row=replace(one.row, modes=(*BASE, Mode.GOCRYPTFS, Mode.CIPHER)))
    lines = as_table([one]).splitlines()[2:]
    assert len(lines) == 5
    assert "sync, over gocryptfs" in lines[3]
    assert "2.500 x" in lines[3]
    assert "≥ 2 yes" in lines[3]
    assert "sync, over cipher" in lines[4]
    assert "≥ 0.5 NO" in lines[4]


def test_rows_are_chosen_by_a_name_s_beginning() -> None:
    assert [row.name for row in chosen(["redis-get"])[0]] == ["redis-get-p1", "redis-get-p16"]
    assert [row.name for row in chosen(["redis-get-p1"])[0]] == ["redis-get-p1"]
    assert chosen([])[0] == ROWS
    assert chosen(["idle", "idel"])[1] == ["idel"]
    assert len({row.name for row in ROWS}) == len(ROWS)
