# SPDX-License-Identifier: GPL-2.0-only
"""Where results go: collision-free, with ``latest``, and with nothing of an earlier run."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.base.errors import InputError
from harness.results import directory as module
from harness.results.directory import clear_results, free_name, results_directory


@pytest.fixture
def same_second(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "new_name", lambda: "20261127-004029")


@pytest.mark.usefixtures("same_second")
def test_runs_of_one_second_have_directories_of_their_own(tmp_path: Path) -> None:
    top = tmp_path / "results"
    made = [results_directory(None, top) for _ in range(3)]
    names = ["20261127-004029", "20261127-004029-1", "20261127-004029-2"]
    assert made == [top / name for name in names]
    assert (top / "latest").resolve() == made[-1]


def test_processes_that_share_a_directory_are_given_the_same(tmp_path: Path) -> None:
    made = {results_directory(None, tmp_path, shared="both") for _ in range(2)}
    assert made == {tmp_path / "both"}
    assert (tmp_path / "latest").resolve() == tmp_path / "both"


def test_directory_that_was_asked_for_moves_no_link(tmp_path: Path) -> None:
    assert results_directory(tmp_path / "a" / "b", tmp_path) == tmp_path / "a" / "b"
    assert not (tmp_path / "latest").is_symlink()


def test_latest_that_is_no_link_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "latest").mkdir()
    assert results_directory(None, tmp_path).is_dir()
    assert not (tmp_path / "latest").is_symlink()


@pytest.mark.parametrize("given", [None, "results/own"])
def test_directory_that_cannot_be_made_is_bad_input(tmp_path: Path, given: str | None) -> None:
    (tmp_path / "results").touch()
    with pytest.raises(InputError, match=r"cannot make .*results"):
        results_directory(given and tmp_path / given, tmp_path / "results")


# -- a directory that is used again ----------------------------------------------------------


def fill(directory: Path, *names: str) -> None:
    for name in names:
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text("{}")


def left(directory: Path) -> set[str]:
    return {str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file()}


def test_what_an_earlier_run_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    fill(tmp_path, "results.json", "results.ktap", "junit.xml", "report.html", "coverage.json")
    fill(tmp_path, "again/results.json", "console/test_a.log", "machines/001/console.log")
    fill(tmp_path, "v4.mbx", "own/results.json", "coverage/index.html")
    assert results_directory(tmp_path, tmp_path) == tmp_path
    assert left(tmp_path) == {"v4.mbx", "own/results.json", "coverage/index.html"}


SUMMARIES = ["matrix.json", "bisect.json", "mutants.json", "compat.json", "bugs.json"]


@pytest.mark.parametrize("summary", SUMMARIES)
def test_cells_of_an_earlier_run_are_cleared_with_its_summary(tmp_path: Path, summary: str) -> None:
    fill(tmp_path, summary, "p00-default/results.json", "p00-default/machines/001/console.log")
    fill(tmp_path, "p00-default/notes")
    clear_results(tmp_path)
    assert left(tmp_path) == {"p00-default/notes"}


def test_cells_of_every_kernel_of_a_nightly_are_cleared(tmp_path: Path) -> None:
    fill(tmp_path, "nightly.json", "a/matrix.json", "a/p00-default/results.json")
    clear_results(tmp_path)
    assert left(tmp_path) == set()


def test_runs_that_share_a_directory_keep_each_others_results(tmp_path: Path) -> None:
    """As those of ``git bisect run harness verdict --results DIR`` do."""
    fill(tmp_path, "7a1b-try-1/results.json")
    clear_results(tmp_path)
    assert left(tmp_path) == {"7a1b-try-1/results.json"}


def test_link_is_removed_and_what_it_points_to_stays(tmp_path: Path) -> None:
    fill(tmp_path, "elsewhere/log", "run/kept")
    (tmp_path / "run" / "console").symlink_to(tmp_path / "elsewhere")
    clear_results(tmp_path / "run")
    assert left(tmp_path) == {"elsewhere/log", "run/kept"}
    assert not (tmp_path / "run" / "console").is_symlink()


def test_second_of_a_name_is_numbered() -> None:
    taken: list[str] = []
    for name in ("linux", "linux", "next", "linux"):
        taken.append(free_name(name, taken))
    assert taken == ["linux", "linux-2", "next", "linux-3"]
