# SPDX-License-Identifier: GPL-2.0-only
"""The simulation of clusters, and what compares a matrix here with one elsewhere."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from benchmarks.crowd import GUESTS, Costs
from benchmarks.elsewhere import differences, lucky_tests
from benchmarks.figures import replace_block
from benchmarks.scale import BEGIN, END
from benchmarks.simulate import Work, simulate, stops, table
from harness.base.spec import PROJECT_ROOT

NOTHING = Costs(prepare_s=0, collect_s=0, scheduler_s=0, idle=0, look_s=0)
WORK = Work(cells_s=(100.0,) * 12, series=4, build_s=10.0, first_build_s=10.0)


def test_kernels_are_built_once() -> None:
    built = {kernel for cell in range(WORK.cells) for kernel in WORK.needed(cell)}
    assert (WORK.cells, WORK.kernels, len(built)) == (48, 45, 45)
    assert WORK.needed(12) == {(0, 0), (1, 11)}
    assert WORK.needed(14) == {(0, 0), (1, 2), (1, 11)}


def test_one_worker_tests_as_many_cells_at_once_as_it_has_places() -> None:
    alone = simulate(WORK, 1, NOTHING)
    assert alone.limit == "tests"
    # The first tests wait for two and for three kernels, then there is no pause.
    assert alone.seconds == pytest.approx(48 * 100 / GUESTS + 30)


def test_more_workers_are_faster_down_to_the_longest_cell() -> None:
    found = [simulate(WORK, workers, NOTHING) for workers in (1, 2, 4, 8, 16, 32, 64, 128)]
    seconds = [each.seconds for each in found]
    assert seconds == sorted(seconds, reverse=True)
    for each in found:
        assert each.seconds >= max(each.bounds_s.values())
    assert found[-1].seconds == pytest.approx(110)
    assert found[-1].limit == "one cell: its build and its tests"
    assert stops(found) is found[-3]
    assert table(found)[2].startswith("| 1 | 2,430 s | 1.0 | 100% | tests")


@pytest.mark.parametrize(
    ("costs", "limit"), [({"prepare_s": 30.0}, "who asks"), ({"scheduler_s": 20.0}, "scheduler")]
)
def test_what_is_done_in_one_place_is_in_the_way_of_many(
    costs: dict[str, float], limit: str
) -> None:
    found = simulate(WORK, 256, dataclasses.replace(NOTHING, **costs))
    assert found.limit == limit
    assert found.seconds >= found.bounds_s[limit] > 240


def test_first_build_of_a_worker_takes_longer() -> None:
    cold = dataclasses.replace(WORK, first_build_s=360.0)
    assert simulate(cold, 256, NOTHING).seconds == pytest.approx(460)


def test_page_has_a_place_for_the_figures(tmp_path: Path) -> None:
    page = tmp_path / "cluster.md"
    page.write_text((PROJECT_ROOT / "docs/cluster.md").read_text())
    replace_block(page, BEGIN, END, "these\n")
    assert f"{BEGIN}\nthese\n{END}\n" in page.read_text()


def test_verdict_that_differs_is_told_and_a_time_is_not() -> None:
    def record(outcome: str, seconds: float, positions: tuple[int, ...]) -> dict[str, object]:
        cells = [
            {"profile": "default", "position": n, "seconds": seconds, "tests": {"a": outcome}}
            for n in positions
        ]
        return {"schema": 1, "positions": cells}

    here = record("passed", 1.0, (0, 11))
    assert differences(here, record("passed", 2.0, (11, 0))) == []
    assert differences(here, record("failed", 1.0, (0, 11))) == [
        "positions[0].tests.a: 'passed' here, 'failed' there",
        "positions[1].tests.a: 'passed' here, 'failed' there",
    ]
    (said,) = differences(here, record("passed", 1.0, (0,)))
    assert "'position': 11" in said
    assert said.endswith("only here")


def test_tests_of_luck_are_left_out_of_the_comparison(tmp_path: Path) -> None:
    cell = tmp_path / "p00-default"
    cell.mkdir()
    tests = [{"id": "lucky", "expected": "either"}, {"id": "sure", "expected": "failed"}]
    (cell / "results.json").write_text(json.dumps({"tests": tests}))
    lucky = lucky_tests(tmp_path)
    assert lucky == {"lucky"}

    def record(lucky: str, sure: str) -> dict[str, object]:
        told = [{"test": "lucky", "to": 1}] if lucky == "failed" else []
        return {"tests": {"lucky": lucky, "sure": sure}, "transitions": told}

    assert differences(record("passed", "failed"), record("failed", "failed"), lucky) == []
    assert len(differences(record("passed", "failed"), record("passed", "passed"), lucky)) == 1
    assert len(differences(record("passed", "failed"), record("failed", "failed"))) == 2
