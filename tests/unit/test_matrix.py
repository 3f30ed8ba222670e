# SPDX-License-Identifier: GPL-2.0-only
"""What a matrix makes of its cells; the cells here are made up, none was run."""

from __future__ import annotations

import dataclasses
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cells import cell_at, outcome_of, result_of
from rich.console import Console
from schemas import complaints as wrong_with

from harness.base import command
from harness.base.errors import ExitCode, InputError, SeriesError
from harness.base.settings import target_from_settings
from harness.kernel.apply import AppliedSeries, Position
from harness.kernel.source import SourceTree
from harness.report.matrix import HEADER, cell_line, print_tables, record_of, summary
from harness.results.form import from_plain
from harness.results.records import CellStatus, MatrixRecord, record_json
from harness.results.results import Boot
from harness.run.cell import Cell, CellResult
from harness.search.matrix import (
    complaints,
    exit_code,
    kinds_of,
    make_cells,
    position_of,
    run_cells,
    transitions,
)

SUBJECTS = {0: "base", **{number: f"mm: {number}" for number in range(1, 6)}}
DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "results.md"
TARGET = target_from_settings(lambda _name: None)


def cell(
    position: int,
    profile: str = "default",
    *,
    status: CellStatus = CellStatus.TESTED,
    boot: Boot | None = Boot.OK,
    warnings: tuple[str, ...] | None = (),
    cached: bool = False,
    **tests: str,
) -> CellResult:
    return result_of(
        cell_at(position, profile),
        *(outcome_of(name, text) for name, text in tests.items()),
        status=status,
        boot=boot,
        warnings=warnings,
        cached=cached,
    )


# -- running ---------------------------------------------------------------------------------


def test_cells_go_profile_by_profile() -> None:
    cells = make_cells(TARGET, [0, 5], ["default", "debug"], pytest_args=("-x",))
    assert [(c.target.profile, c.target.position) for c in cells] == [
        ("default", 0),
        ("default", 5),
        ("debug", 0),
        ("debug", 5),
    ]
    assert {c.judge for c in cells} == {"expected"}
    assert {c.pytest_args for c in cells} == {("-x",)}


def test_cells_may_be_of_two_architectures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    target = dataclasses.replace(TARGET, arch="x86_64", qemu=Path("/opt/qemu"))
    cells = make_cells(target, [3], ["default", "debug@aarch64", "default@x86_64"])
    assert [cell.name for cell in cells] == ["p03-default", "p03-debug@aarch64"]
    assert [cell.target.arch for cell in cells] == ["x86_64", "aarch64"]
    assert kinds_of(cells) == ("default", "debug@aarch64")
    assert [cell.target.qemu for cell in cells] == [target.qemu, None]


def test_profile_that_is_named_twice_makes_one_cell(monkeypatch: pytest.MonkeyPatch) -> None:
    """On an arm64 host, which scripts/nightly.yaml names too."""
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    target = dataclasses.replace(TARGET, arch="aarch64")
    cells = make_cells(target, [0, 3], ["default", "default@aarch64"])
    assert [cell.name for cell in cells] == ["p00-default", "p03-default"]


@pytest.mark.parametrize(("keep_going", "ran"), [(False, [0, 1]), (True, [0, 1, 2])])
def test_cells_stop_at_the_first_with_something_unexpected(
    keep_going: bool, ran: list[int]
) -> None:
    def run(made: Cell) -> CellResult:
        position = made.target.position
        assert position is not None
        return cell(position, a="failed!" if position == 1 else "passed")

    found = run_cells(make_cells(TARGET, [0, 1, 2], ["default"]), run, keep_going=keep_going)
    assert [position_of(result) for result in found] == ran


def test_cells_run_side_by_side() -> None:
    both = threading.Barrier(2, timeout=10)

    def run(made: Cell) -> CellResult:
        both.wait()
        position = made.target.position
        assert position is not None
        return cell(position, a="passed")

    cells = make_cells(TARGET, [0, 1, 2, 3], ["default"])
    found = run_cells(cells, run, keep_going=False, parallel=2)
    assert sorted(position_of(result) for result in found) == [0, 1, 2, 3]


def test_interrupt_of_side_by_side_cells_is_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    told = threading.Event()
    monkeypatch.setattr("harness.base.command.interrupt", told.set)

    def run(made: Cell) -> CellResult:
        position = made.target.position
        assert position is not None
        if position == 0:
            raise KeyboardInterrupt
        assert told.wait(10), "nobody told this cell to end"
        return cell(position, a="passed")

    cells = make_cells(TARGET, [0, 1, 2], ["default"])
    with pytest.raises(KeyboardInterrupt):
        list(run_cells(cells, run, keep_going=True, parallel=2))
    assert told.is_set()


def test_cell_with_bad_input_ends_those_beside_it_and_nothing_else() -> None:
    began = threading.Event()

    def run(made: Cell) -> CellResult:
        if made.target.position == 0:
            assert began.wait(10)
            raise InputError("no such thing")
        began.set()
        command.run(["sleep", "60"], timeout_s=90)
        raise AssertionError("it slept to its end")

    cells = make_cells(TARGET, [0, 1], ["default"])
    started = time.monotonic()
    with pytest.raises(InputError):
        list(run_cells(cells, run, keep_going=True, parallel=2))
    assert time.monotonic() - started < 30
    command.run(["true"], timeout_s=10)


# -- what nobody expected --------------------------------------------------------------------


def test_cell_as_stated_has_no_complaints() -> None:
    assert complaints(cell(0, a="passed", b="failed", c="skipped")) == ()
    assert exit_code([cell(0, a="passed"), cell(1, b="failed")]) is ExitCode.PASSED


def test_complaint_names_test_evidence_and_how_to_run_it_again() -> None:
    (found,) = complaints(cell(3, "debug", **{"test_module.py::test_x": "failed!", "b": "passed"}))
    assert (found.position, found.profile, found.test) == (3, "debug", "test_module.py::test_x")
    assert (found.expected, found.outcome, found.message) == ("passed", "failed", "why")
    assert found.log == Path("/results/p/console/x.log")
    assert found.reproduce == (
        "harness run --position 3 --profile debug --expected -- tests/guest/test_module.py::test_x"
    )


@pytest.mark.parametrize(
    ("result", "code"),
    [
        (cell(0, a="failed!"), ExitCode.TESTS_FAILED),
        (cell(0, a="passed!"), ExitCode.TESTS_FAILED),
        (cell(0, a="error!"), ExitCode.INFRASTRUCTURE),
        (cell(0, a="error!", b="failed!"), ExitCode.TESTS_FAILED),
        (cell(0, warnings=("a.c: unused",)), ExitCode.TESTS_FAILED),
        (cell(0, status=CellStatus.NOT_APPLIED), ExitCode.TESTS_FAILED),
        (cell(0, status=CellStatus.NOT_BUILT), ExitCode.TESTS_FAILED),
        (cell(0, status=CellStatus.ERROR), ExitCode.INFRASTRUCTURE),
        (cell(0, status=CellStatus.NOT_BOOTED, boot=Boot.CRASHED), ExitCode.TESTS_FAILED),
        (cell(0, status=CellStatus.NOT_BOOTED, boot=Boot.UNUSABLE), ExitCode.INFRASTRUCTURE),
    ],
)
def test_exit_code(result: CellResult, code: ExitCode) -> None:
    assert exit_code([cell(1, a="passed"), result]) is code


def test_kernel_that_does_not_boot_is_one_complaint() -> None:
    result = cell(0, status=CellStatus.NOT_BOOTED, boot=Boot.CRASHED, a="crashed!", b="crashed!")
    assert [item.outcome for item in complaints(result)] == ["does not boot"]


# -- transitions -----------------------------------------------------------------------------


def changes(*results: CellResult) -> list[tuple[str, int, int, str | None, str, str]]:
    return [
        (t.test, t.from_position, t.to_position, t.subject, t.before, t.after)
        for t in transitions(results, SUBJECTS)
    ]


def test_transition_names_the_patch() -> None:
    found = changes(cell(0, a="failed"), cell(1, a="failed"), cell(2, a="passed"))
    assert found == [("a", 1, 2, "mm: 2", "failed", "passed")]


def test_transition_both_ways_and_from_skipped() -> None:
    found = changes(cell(0, a="passed", b="skipped"), cell(1, a="crashed", b="passed"))
    assert [(t[0], *t[4:]) for t in found] == [
        ("a", "passed", "crashed"),
        ("b", "skipped", "passed"),
    ]


def test_transition_over_a_gap_blames_no_single_patch() -> None:
    assert changes(cell(0, a="failed"), cell(5, a="passed")) == [
        ("a", 0, 5, None, "failed", "passed")
    ]


def test_transition_ignores_what_has_no_verdict() -> None:
    found = changes(
        cell(0, a="failed"),
        cell(1, a="error!"),
        cell(2, status=CellStatus.NOT_BUILT),
        cell(3, a="passed"),
    )
    assert found == [("a", 0, 3, None, "failed", "passed")]


def test_race_that_did_not_show_says_nothing() -> None:
    assert changes(cell(0, a="failed?"), cell(1, a="passed?"), cell(2, a="passed")) == [
        ("a", 0, 2, None, "failed", "passed")
    ]


def test_profiles_are_kept_apart_and_cells_may_come_in_any_order() -> None:
    results = [
        cell(1, "debug", a="passed"),
        cell(1, a="passed"),
        cell(0, "debug", a="passed"),
        cell(0, a="failed"),
    ]
    found = transitions(results, SUBJECTS)
    assert [(t.test, t.profile) for t in found] == [("a", "default")]


# -- JSON and tables -------------------------------------------------------------------------


@pytest.fixture
def applied(tmp_path: Path) -> AppliedSeries:
    source = SourceTree(
        repo=tmp_path, base="b", tree="t", version="7.0", label="l", public=False, lock="x"
    )
    positions = tuple(
        Position(number=number, subject=subject, commit="c", tree="t")
        for number, subject in SUBJECTS.items()
    )
    return AppliedSeries(
        source=source, series=None, support=(), positions=positions, broken=SeriesError("x")
    )


def keys(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        for key, item in value.items():
            if key != "tests":  # test ids
                yield from keys(item)
            yield key
    elif isinstance(value, list):
        for item in value:
            yield from keys(item)


def test_json_is_as_documented(applied: AppliedSeries) -> None:
    results = [cell(1, "debug", a="passed"), cell(1, a="failed!"), cell(0, "debug", a="failed")]
    record = record_of(applied, ["default", "debug"], results)
    found = record_json(record)
    assert [(p["position"], p["profile"]) for p in found["positions"]] == [
        (0, "debug"),
        (1, "default"),
        (1, "debug"),
    ]
    assert wrong_with("matrix", found) == []
    assert from_plain(MatrixRecord, found) == record
    lost = record_of(applied, ["default"], [cell(1, boot=None, status=s) for s in CellStatus])
    assert wrong_with("matrix", record_json(lost)) == []
    assert from_plain(MatrixRecord, record_json(lost)) == lost
    first = found["positions"][0]
    assert first["tests"] == {"a": "failed"}
    assert first["build"]["status"] == first["boot"]["status"] == "ok"
    assert found["transitions"] == [
        {
            "test": "a",
            "profile": "debug",
            "from": 0,
            "to": 1,
            "subject": "mm: 1",
            "before": "failed",
            "after": "passed",
        }
    ]
    assert [item["test"] for item in found["unexpected"]] == ["a"]
    named = set(re.findall(r'"(\w+)"', DOCUMENT.read_text()))
    assert set(keys(found)) - named == set()


def test_line_has_what_the_header_says() -> None:
    line = str(cell_line(cell(3, a="passed", b="failed", c="failed!"), "mm: 3"))
    words = ["3", "default", "20 s", "0", "2.5 s", "1", "1", "1", "30", "mm: 3"]
    assert re.split(r"\s{2,}", line.strip()) == words
    assert len(re.split(r"\s{2,}", HEADER)) == len(words)


def test_line_of_what_does_not_build_says_why() -> None:
    line = str(cell_line(cell(3, status=CellStatus.NOT_BUILT), "mm: 3"))
    assert "does not build: this is why" in line


def test_tables_group_by_patch_and_name_the_unexpected(capsys: pytest.CaptureFixture[str]) -> None:
    results = [cell(0, a="failed", b="failed"), cell(1, a="passed", b="passed", c="failed!")]
    results += [cell(0, "debug", a="failed"), cell(1, "debug", a="passed")]
    print_tables(results, SUBJECTS, Console(width=120))
    out = capsys.readouterr().out
    assert out.count("0 -> 1: mm: 1") == 1
    assert "debug, default" in out
    assert "position 1, default: c: failed, stated: passed" in out
    assert "run: harness run --position 1" in out


def test_tables_say_once_what_has_one_cause(capsys: pytest.CaptureFixture[str]) -> None:
    results = [cell(n, a="failed!", b="failed!" if n == 3 else "passed") for n in range(2, 6)]
    print_tables(results, SUBJECTS, Console(width=120))
    out = capsys.readouterr().out
    assert "unexpected: 5 results, 2 causes" in out
    assert "positions 2 to 5, default: a: failed, stated: passed\n" in out
    assert "      first seen at patch 2: mm: 2\n" in out
    assert "position 3, default: b: failed" in out
    assert out.count("run: ") == 2


def test_summary_says_what_was_left_out() -> None:
    results = [cell(0, a="passed", cached=True), cell(1, a="failed!")]
    assert summary(results, 4) == (
        "2 of 4 cells, 2 tests; from the cache: 1; with something unexpected: 1; "
        "stopped there (--keep-going does not)"
    )


def test_no_cell_is_begun_after_the_deadline() -> None:
    ran: list[int | None] = []

    def run(made: Cell) -> CellResult:
        ran.append(made.target.position)
        time.sleep(0.2)
        return cell(made.target.position or 0, a="passed")

    cells = make_cells(TARGET, [0, 1, 2], ["default"])
    found = list(run_cells(cells, run, keep_going=True, deadline=time.monotonic() + 0.1))
    assert (ran, len(found)) == ([0], 1)
