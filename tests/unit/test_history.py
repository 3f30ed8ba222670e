# SPDX-License-Identifier: GPL-2.0-only
from __future__ import annotations

import contextlib
import dataclasses
import multiprocessing
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from runs import run_of, series_of

from harness.base.errors import SpecError
from harness.results.history import History, history_file
from harness.results.results import Outcome, RunResults, TestResult

PASSED, FAILED, ERROR = Outcome.PASSED, Outcome.FAILED, Outcome.ERROR


def results(commit: str = "c", judge: str = "desired", **outcomes: Outcome) -> RunResults:
    return run_of(
        *(
            TestResult(
                id=f"test_a.py::{name}",
                outcome=outcome,
                seconds=0.5,
                unexpected=outcome is not PASSED,
            )
            for name, outcome in outcomes.items()
        ),
        kernel={"release": f"7.0.13-{commit}", "commit": commit},
        series=series_of(1, "one"),
        judge=judge,
    )


@pytest.fixture
def history(tmp_path: Path) -> Iterator[History]:
    with History(tmp_path / "state" / "history.sqlite") as made:
        yield made


def add(history: History, at: float, inputs: str = "i", **outcomes: Outcome) -> int:
    found = results(f"c{at:.0f}", **outcomes)
    return history.add_run(found, directory=Path("r"), inputs=inputs, at=at)


def test_run_on_another_architecture_is_one_of_another_profile(
    history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    for host in ("x86_64", "aarch64"):
        monkeypatch.setattr("platform.machine", lambda host=host: host)
        add(history, 1, x=PASSED)
    own, other = history.runs()
    assert {own.profile, other.profile} == {"default", "default@x86_64"}


def test_history_on_a_full_disk_is_refused(history: History) -> None:
    add(history, 1, x=PASSED)
    history._db.execute("PRAGMA max_page_count = 1")
    with pytest.raises(SpecError, match="full"):
        for n in range(100):
            add(history, n, **{f"t{i}": PASSED for i in range(50)})
    assert {run.tests for run in history.runs()} <= {1, 50}, "some are not whole"


def test_history_with_a_damaged_page_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "history.sqlite"
    with History(path) as history:
        for n in range(50):
            add(history, n, **{f"t{i}": PASSED for i in range(20)})
    data = bytearray(path.read_bytes())
    data[4096:] = bytes(len(data) - 4096)
    path.write_bytes(data)
    with History(path) as history:
        with pytest.raises(SpecError, match="cannot be used as the history"):
            add(history, 51, x=PASSED)
        with pytest.raises(SpecError, match="cannot be used as the history"):
            history.runs()


def test_runs_are_told_newest_first_with_their_counts(history: History) -> None:
    add(history, 1, x=PASSED, y=FAILED)
    add(history, 2, x=PASSED, y=PASSED)
    assert [(run.release, run.tests, run.bad) for run in history.runs()] == [
        ("7.0.13-c2", 2, 0),
        ("7.0.13-c1", 2, 1),
    ]
    assert len(history.runs(limit=1)) == 1


@pytest.mark.parametrize("judge", ["desired", "expected"])
def test_error_is_never_bad(history: History, judge: str) -> None:
    found = results(judge=judge, x=FAILED, y=ERROR)
    history.add_run(found, directory=Path("r"), inputs="i")
    assert [run.bad for run in history.runs()] == [1]


def test_trend_of_a_test(history: History) -> None:
    add(history, 1, x=FAILED, other=PASSED)
    add(history, 2, x=PASSED, other=PASSED)
    assert [(row.at, row.outcome) for row in history.trend("::x")] == [
        (2, "passed"),
        (1, "failed"),
    ]


def test_flaky_is_who_differs_on_the_same_inputs(history: History) -> None:
    for at, outcome in enumerate((PASSED, FAILED, PASSED, PASSED)):
        add(history, at, inputs="same", x=outcome, steady=PASSED, broken=FAILED)
    # Other inputs may well lead to something else, and an error says nothing.
    add(history, 9, inputs="other", x=FAILED, steady=FAILED, broken=PASSED)
    add(history, 10, inputs="same", x=ERROR, steady=ERROR, broken=ERROR)
    (found,) = history.flaky()
    assert (found.test, found.runs, found.bad, found.rate) == ("test_a.py::x", 4, 1, 0.25)


def test_bad_since_is_the_first_of_the_bad_ones_in_a_row(history: History) -> None:
    for at, outcome in enumerate((FAILED, PASSED, FAILED, ERROR, FAILED)):
        add(history, at, x=outcome, fine=PASSED, never=FAILED)
    never, x = history.bad_since()
    assert (x.test, x.at, x.commit, x.good, x.runs) == ("test_a.py::x", 2, "c2", 1, 2)
    assert (never.test, never.at, never.good, never.runs) == ("test_a.py::never", 0, None, 5)


def test_bad_on_one_line_of_kernels_is_not_good_on_another(history: History) -> None:
    for at in range(3):
        for number, outcome in (("7.2.13", FAILED), ("7.3.4", PASSED)):
            found = results(f"c{at}", x=outcome)
            kernel = dataclasses.replace(found.kernel, release=f"{number}-c{at}")
            found = dataclasses.replace(found, kernel=kernel)
            history.add_run(found, directory=Path("r"), inputs=number, at=at)
    (bad,) = history.bad_since()
    assert (bad.release, bad.at, bad.good, bad.runs) == ("7.2.13-c2", 0, None, 3)


def test_failure_as_stated_is_not_bad(history: History) -> None:
    stated = run_of(TestResult(id="t", outcome=FAILED, seconds=0.1), judge="expected")
    history.add_run(stated, directory=Path("r"), inputs="i")
    assert history.bad_since() == []


def test_keep_drops_the_oldest_with_all_that_belongs_to_them(history: History) -> None:
    for at in range(5):
        add(history, at, x=PASSED)
    assert history.prune(keep=2) == 3
    assert [run.at for run in history.runs()] == [4, 3]
    assert len(history.trend("x")) == 2


def test_figures_are_kept(history: History) -> None:
    figure = {"min": 1.0, "median": 2.0, "max": 3.0, "unit": "s", "runs": 5}
    history.add_figures({"boot_to_ssh": figure}, release="r", accel="tcg", profile="default")
    history.add_figures({"blackout": figure}, release="r", accel="tcg", profile="default")
    (found,) = history.figures(name="boot")
    assert (found.name, found.median, found.unit) == ("boot_to_ssh", 2.0, "s")


def _write_many(path: Path, who: int) -> None:
    for number in range(10):
        with History(path) as history:
            add(history, 100 * who + number, x=PASSED, y=FAILED)


def test_writers_side_by_side_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "history.sqlite"
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_write_many, args=(path, who)) for who in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    assert [writer.exitcode for writer in writers] == [0] * 4
    with History(path) as history:
        assert len(history.runs(limit=1000)) == 40
        assert len(history.trend("test_a", limit=1000)) == 80


def test_run_that_cannot_be_written_whole_is_not_there(history: History) -> None:
    twice = TestResult(id="t", outcome=PASSED, seconds=0.1)
    broken = run_of(twice, twice)
    with pytest.raises(sqlite3.IntegrityError):
        history.add_run(broken, directory=Path("r"), inputs="i")
    assert history.runs() == []


def test_file_that_is_no_history_is_named(tmp_path: Path) -> None:
    path = tmp_path / "history.sqlite"
    path.write_text("something else" * 100)
    with pytest.raises(SpecError, match=f"{path} cannot be used as the history"):
        History(path)


def test_history_of_a_newer_harness_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "history.sqlite"
    History(path).close()
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA user_version = 99")
    with pytest.raises(SpecError, match="schema is 99"):
        History(path)


def test_environment_names_the_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HARNESS_HISTORY", str(tmp_path / "here.sqlite"))
    assert history_file() == tmp_path / "here.sqlite"
