# SPDX-License-Identifier: GPL-2.0-only
"""Which kernel has which known bug: what its tests come to, and how it is written and shown."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path

import pytest
from cells import TARGET, outcome_of, result_of
from rich.console import Console
from schemas import complaints as wrong_with
from shipped import SUITE

from harness.base.errors import ExitCode
from harness.base.features import FeatureSpec
from harness.report.bugs import kernel_line, print_table, to_markdown
from harness.report.page import render
from harness.results.bugs import BugsResults, State, read_bugs, state_of
from harness.results.facts import FixFacts
from harness.results.form import write_file
from harness.results.records import CellStatus
from harness.results.results import Outcome, TestResult
from harness.run.cell import CellResult, pytest_argv
from harness.search.bugs import bug_results, bugs_of, kernel_cell, series_bugs

OLD, NEW = "7.0.13:11", "7.3.4"
FEATURES = (
    FeatureSpec(name="b-fix", description="b", file="b", fixes="b is wrong", fixed_in="7.10"),
    FeatureSpec(name="a-fix", description="a", file="a", fixes="a is wrong", fixed_in="7.2"),
    FeatureSpec(name="no-fix", description="c", file="c"),
)
BUGS = bugs_of(FEATURES)
HOSTILE = "</pre><script>document.title='owned'</script>"


def about(outcome: str, name: str = "test_x.py::test_a", message: str = "it is so") -> TestResult:
    """Return a test about the bug that ``a-fix`` fixes; ``!`` is unexpected."""
    return dataclasses.replace(outcome_of(name, outcome, message), splats=(), bug="a-fix")


def cell_of(
    name: str, *tests: TestResult, has: tuple[str, ...] = (), status: CellStatus = CellStatus.TESTED
) -> CellResult:
    made = result_of(kernel_cell(name, TARGET), *tests, status=status)
    if made.results is None:
        return made
    fixes = tuple(
        FixFacts(
            feature=bug.feature,
            bug=bug.what,
            fixed_in=bug.fixed_in,
            has=bug.feature in has,
            missing=(),
        )
        for bug in BUGS
    )
    kernel = dataclasses.replace(made.results.kernel, fixes=fixes)
    return dataclasses.replace(made, results=dataclasses.replace(made.results, kernel=kernel))


def made(*cells: tuple[str, CellResult]) -> BugsResults:
    return bug_results(BUGS, dict(cells), "default")


BOTH = made(
    (OLD, cell_of(OLD, about("failed"))),
    (NEW, cell_of(NEW, about("passed"), has=("a-fix", "b-fix"))),
)


def test_bugs_are_what_features_fix_in_the_order_of_releases() -> None:
    assert [bug.feature for bug in BUGS] == ["a-fix", "b-fix"]


def test_shipped_suite_knows_bugs_and_each_has_a_release() -> None:
    found = {bug.feature for bug in bugs_of(SUITE.features)}
    assert found >= {"file-preserved-once", "name-needs-nul"}


def test_cell_has_the_tests_about_bugs_alone() -> None:
    cell = kernel_cell(OLD, TARGET, by_series=series_bugs(SUITE.features))
    argv = [str(word) for word in pytest_argv(cell, Path("/results"))]
    assert argv[-3:-1] == ["-m", "fails_without or fails_before(bug='module-unload')"]


@pytest.mark.parametrize(
    ("outcome", "has", "state"),
    [
        ("failed", (), State.SHOWN),
        ("passed", ("a-fix",), State.FIXED),
        ("failed!", (), State.WRONG),
    ],
)
def test_bug_that_the_series_fixes_is_shown_by_what_it_turns(
    outcome: str, has: tuple[str, ...], state: State
) -> None:
    turned = dataclasses.replace(about(outcome), bug="")
    results = bug_results(
        BUGS, {OLD: cell_of(OLD, turned, has=has)}, "default", by_series=("a-fix",)
    )
    assert results.result("a-fix", OLD).state is state
    assert results.result("a-fix", OLD).tests == {turned.id: turned.outcome}
    assert results.result("b-fix", OLD).tests == {}


@pytest.mark.parametrize(
    ("outcomes", "has_fix", "state"),
    [
        (["failed"], False, State.SHOWN),
        (["crashed"], False, State.SHOWN),
        # One that needs luck may pass.
        (["passed", "failed"], False, State.SHOWN),
        (["passed"], False, State.NOT_SHOWN),
        ([], False, State.NOT_SHOWN),
        (["passed"], True, State.FIXED),
        (["passed", "skipped"], True, State.FIXED),
        (["skipped"], True, State.NOT_TRIED),
        ([], True, State.NOT_TRIED),
        (["error!", "passed"], True, State.NO_VERDICT),
        (["error!", "failed"], False, State.SHOWN),
        (["failed!", "error!"], True, State.WRONG),
        (["passed!"], False, State.WRONG),
    ],
)
def test_state_of_a_bug(outcomes: list[str], has_fix: bool, state: State) -> None:
    found, deciding = state_of([about(word) for word in outcomes], has_fix=has_fix)
    assert found is state
    assert (deciding is None) is (state in (State.FIXED, State.NOT_SHOWN, State.NOT_TRIED))


def test_each_bug_is_asked_of_its_own_tests_and_each_kernel() -> None:
    assert BOTH.result("a-fix", OLD).state is State.SHOWN
    assert BOTH.result("a-fix", OLD).message == "it is so"
    assert BOTH.result("a-fix", OLD).tests == {"test_x.py::test_a": Outcome.FAILED}
    assert BOTH.result("a-fix", NEW).state is State.FIXED
    assert BOTH.result("b-fix", OLD).state is State.NOT_SHOWN
    assert BOTH.result("b-fix", NEW).state is State.NOT_TRIED
    with pytest.raises(KeyError):
        BOTH.result("c-fix", NEW)


def test_kernel_that_does_not_build_has_no_verdict() -> None:
    found = made((OLD, cell_of(OLD, status=CellStatus.NOT_BUILT)))
    assert found.result("a-fix", OLD).state is State.NO_VERDICT
    assert found.result("a-fix", OLD).message == "does not build: this is why"
    assert found.kernels[0].release == ""
    assert found.exit_code is ExitCode.INFRASTRUCTURE


def test_contradiction_is_a_failure_and_a_shown_bug_is_none() -> None:
    assert BOTH.exit_code is ExitCode.PASSED
    wrong = made(
        (NEW, cell_of(NEW, about("failed!"), has=("a-fix",))),
        (OLD, cell_of(OLD, about("error!"))),
    )
    assert wrong.exit_code is ExitCode.TESTS_FAILED


def test_json_is_as_its_schema_says_and_is_read_back(tmp_path: Path) -> None:
    assert wrong_with("bugs", BOTH.to_json()) == []
    write_file(tmp_path / "bugs.json", BOTH.to_json())
    assert read_bugs(tmp_path / "bugs.json") == BOTH


# -- what is shown ---------------------------------------------------------------------------


def printed(results: BugsResults) -> str:
    console = Console(file=io.StringIO(), width=120)
    print_table(results, console)
    stream = console.file
    assert isinstance(stream, io.StringIO)
    return stream.getvalue()


def test_table_has_a_row_for_a_bug_and_a_column_for_a_kernel() -> None:
    lines = [line.rstrip() for line in printed(BOTH).splitlines()]
    assert lines[0].split() == ["fixed", "in", "bug", OLD, NEW]
    assert lines[1].split() == ["7.2", "a", "is", "wrong", "shown", "fixed"]
    assert lines[-1] == ("2 bugs on 2 kernels: 1 shown, 1 fixed, 1 not shown, 1 fixed, not tried")


def test_contradiction_tells_what_to_read_and_to_run() -> None:
    text = printed(made((NEW, cell_of(NEW, about("failed!"), has=("a-fix",)))))
    assert f"{NEW}, a-fix: wrong, it is so" in text
    assert "test_x.py::test_a: failed" in text
    assert "run: harness run " in text


def test_line_of_a_kernel_counts() -> None:
    assert str(kernel_line(BOTH, OLD)) == f"{OLD}: 1 shown, 1 not shown  30 s"


def test_markdown_has_the_table_and_what_tests_said() -> None:
    text = to_markdown(BOTH, "So it was.")
    assert f"| bug | fixed in | {OLD} | {NEW} |\n| --- | --- | --- | --- |\n" in text
    assert "| a is wrong | 7.2 | shown | fixed |\n" in text
    assert f"| a is wrong | {OLD} | `test_x.py::test_a` | it is so |\n" in text


def test_page_has_the_table_and_nothing_becomes_markup(tmp_path: Path) -> None:
    hostile = made((OLD, cell_of(OLD, about("failed", message=HOSTILE))))
    write_file(tmp_path / "bugs.json", hostile.to_json())
    text = render(tmp_path, {})
    assert "Which kernel has which bug" in text
    assert "all as it should be" in text
    assert HOSTILE not in text
    assert "document.title=" in text
