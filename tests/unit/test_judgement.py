# SPDX-License-Identifier: GPL-2.0-only
"""What is made of a cell's tests and of several tries; the cells are made up, none was run."""

from __future__ import annotations

import pytest
from cells import TARGET, TEST, result

from harness.results.records import CellStatus, Verdict
from harness.run.cell import Cell, CellResult
from harness.run.judgement import cell_for, judge, run_tries

PASSES, FAILS, NONE = Verdict.PASSES, Verdict.FAILS, Verdict.NONE


@pytest.mark.parametrize(
    ("outcome", "verdict"),
    [
        ("passed", PASSES),
        ("failed", FAILS),
        ("crashed", FAILS),
        ("error", NONE),
        ("skipped", NONE),
    ],
)
def test_verdict_of_an_outcome(outcome: str, verdict: Verdict) -> None:
    found = judge(result((TEST, outcome)), [TEST])
    assert found.verdict is verdict
    assert found.reason == ("" if verdict is PASSES else f"{outcome}: this is why")


@pytest.mark.parametrize(
    ("status", "bad_on", "verdict"),
    [
        (CellStatus.NOT_APPLIED, ["build", "boot"], NONE),
        (CellStatus.NOT_BUILT, [], NONE),
        (CellStatus.NOT_BUILT, ["boot"], NONE),
        (CellStatus.NOT_BUILT, ["build"], FAILS),
        (CellStatus.NOT_BOOTED, [], NONE),
        (CellStatus.NOT_BOOTED, ["build"], NONE),
        (CellStatus.NOT_BOOTED, ["boot"], FAILS),
        (CellStatus.ERROR, ["build", "boot"], NONE),
    ],
)
def test_verdict_without_tests(status: CellStatus, bad_on: list[str], verdict: Verdict) -> None:
    found = judge(result(status=status), [TEST], bad_on)
    assert (found.verdict, found.reason) == (verdict, f"{status.value}: this is why")


def test_verdict_of_several_tests_is_the_worst() -> None:
    both = result(("a.py::x", "passed"), ("a.py::y", "failed"), ("a.py::z", "error"))
    assert judge(both, ["a.py::x"]).verdict is PASSES
    assert judge(both, ["a.py::x", "a.py::z"]).verdict is NONE
    assert judge(both, ["a.py::z", "a.py::x", "a.py::y"]).verdict is FAILS


def test_verdict_of_a_test_covers_its_parameters_and_cases_only() -> None:
    some = result(("a.py::x[1]", "passed"), ("a.py::x[2]", "failed"), ("a.py::xy", "failed"))
    assert judge(some, ["a.py::x"]).verdict is FAILS
    assert judge(some, ["a.py::x[1]"]).verdict is PASSES
    cases = result(("a.py::x", "passed"), ("a.py::x::case", "failed"))
    assert judge(cases, ["a.py::x"]).verdict is FAILS
    assert judge(cases, ["a.py::x::case"]).verdict is FAILS


def test_test_that_did_not_run_is_no_verdict() -> None:
    found = judge(result(("a.py::x", "passed")), ["a.py::x", "a.py::y"])
    assert (found.verdict, found.reason) == (NONE, "a.py::y did not run")


@pytest.mark.parametrize(
    ("outcomes", "verdict", "ran"),
    [
        (["passed", "passed", "passed"], PASSES, 3),
        (["passed", "failed", "passed"], FAILS, 2),
        (["error", "passed", "failed"], FAILS, 3),
        (["passed", "error", "passed"], NONE, 3),
    ],
)
def test_tries(outcomes: list[str], verdict: Verdict, ran: int) -> None:
    numbers: list[int] = []

    def run(_cell: Cell, number: int) -> CellResult:
        numbers.append(number)
        return result((TEST, outcomes[number - 1]))

    found = run_tries(cell_for(TARGET, [TEST]), [TEST], tries=3, bad_on=(), run=run)
    assert (found.verdict, numbers) == (verdict, list(range(1, ran + 1)))


def test_kernel_that_does_not_build_is_tried_once() -> None:
    numbers: list[int] = []

    def run(_cell: Cell, number: int) -> CellResult:
        numbers.append(number)
        return result(status=CellStatus.NOT_BUILT)

    run_tries(cell_for(TARGET, [TEST]), [TEST], tries=3, bad_on=(), run=run)
    assert numbers == [1]


def test_cell_asks_for_what_the_test_desires() -> None:
    made = cell_for(TARGET, ["a.py::x::case", "a.py::x::other"], "quiet")
    assert (made.tests, made.judge, made.cmdline) == (("a.py::x",), "desired", "quiet")
