# SPDX-License-Identifier: GPL-2.0-only
"""What tests say about one kernel: it passes, it fails, or there is no verdict.

A test is judged by the behaviour that it asks for, whatever is stated for the position: that is
what bisections and ``git bisect run`` want to know.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from harness.base.spec import Target
from harness.base.text import first_line
from harness.results.records import CellStatus, Verdict
from harness.results.results import Outcome, TestResult
from harness.run.cell import Cell, CellResult, function_of

BAD_ON = ("build", "boot")
"""What may be asked to count as a failure."""


def cell_for(target: Target, tests: Sequence[str], cmdline: str = "") -> Cell:
    """Return the cell that asks a kernel about *tests*, by what they ask for."""
    return Cell(
        target=target,
        tests=tuple(dict.fromkeys(function_of(test) for test in tests)),
        judge="desired",
        cmdline=cmdline,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """A verdict about one kernel, and why.

    :param reason: one line; empty when the test simply passes.
    :param result: the cell that says so.
    :param test: the test's result that decided; ``None`` when no test ran.
    """

    verdict: Verdict
    reason: str
    result: CellResult
    test: TestResult | None


def judge(result: CellResult, tests: Sequence[str], bad_on: Sequence[str] = ()) -> Judgement:
    """Judge one kernel by *tests*: it fails when one of them does.

    :param bad_on: of :data:`BAD_ON`, what counts as a failure instead of as no verdict.
    """

    def say(verdict: Verdict, reason: str, test: TestResult | None = None) -> Judgement:
        return Judgement(verdict=verdict, reason=reason, result=result, test=test)

    if result.status is not CellStatus.TESTED:
        bad = {CellStatus.NOT_BUILT: "build", CellStatus.NOT_BOOTED: "boot"}.get(result.status)
        verdict = Verdict.FAILS if bad in bad_on else Verdict.NONE
        return say(verdict, f"{result.status.value}: {result.message}")
    found = [test for wanted in tests for test in result.tests if _is_one(test.id, wanted)]
    missing = [wanted for wanted in tests if not any(_is_one(t.id, wanted) for t in found)]
    for test in found:
        if test.outcome.is_failure:
            return say(Verdict.FAILS, _why(test), test)
    if missing:
        return say(Verdict.NONE, f"{missing[0]} did not run")
    for test in found:
        if test.outcome is not Outcome.PASSED:
            return say(Verdict.NONE, _why(test), test)
    return say(Verdict.PASSES, "", found[0])


def _is_one(test_id: str, wanted: str) -> bool:
    """Return whether *test_id* is *wanted*, one of its parameters, or one of its cases."""
    return test_id == wanted or test_id.startswith((f"{wanted}[", f"{wanted}::"))


def _why(test: TestResult) -> str:
    return f"{test.outcome.value}: {first_line(test.message) or '; '.join(test.splats)}"


def run_tries(
    cell: Cell,
    tests: Sequence[str],
    *,
    tries: int,
    bad_on: Sequence[str],
    run: Callable[[Cell, int], CellResult],
) -> Judgement:
    """Judge a kernel that is tested up to *tries* times; it fails when it does once.

    :param run: runs the cell for the so-many-th time, from 1.
    """
    worst: Judgement | None = None
    for number in range(1, tries + 1):
        found = judge(run(cell, number), tests, bad_on)
        if found.verdict is Verdict.FAILS:
            return found
        if worst is None or worst.verdict is Verdict.PASSES:
            worst = found
        if found.result.status is not CellStatus.TESTED:
            return found
    assert worst is not None  # noqa: S101 - tries is at least 1
    return worst
