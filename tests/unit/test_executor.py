# SPDX-License-Identifier: GPL-2.0-only
"""How far a cell comes that does not come to its tests; no kernel runs here."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from patches import diff, mail, mbox, write_kernel
from runs import run_of

from harness.base.errors import InfrastructureError, InputError, SeriesError, SpecError
from harness.base.settings import target_from_settings
from harness.base.spec import Target
from harness.base.store import Store
from harness.kernel.source import git
from harness.results.records import CellStatus
from harness.results.results import Outcome, TestResult
from harness.run.cell import Cell, CellBuild
from harness.run.executor import _Run, check_ended, run_cell

TEST = "test_module.py::test_idle_module_can_be_unloaded[0]"


def target(**settings: str) -> Target:
    return target_from_settings(settings.get)


@pytest.fixture
def kernel(tmp_path: Path) -> Path:
    """A git tree that passes for a kernel until somebody compiles it."""
    path = tmp_path / "linux"
    write_kernel(path)
    git(tmp_path, "init", "-q", path)
    git(path, "add", ".")
    git(path, "-c", "user.name=A", "-c", "user.email=a@example.com", "commit", "-qm", "base")
    return path


PATCH = """\
From: A <a@example.com>
Subject: [PATCH] mm: absent

---
diff --git a/mm/absent.c b/mm/absent.c
--- a/mm/absent.c
+++ b/mm/absent.c
@@ -1 +1 @@
-a
+b
"""


def run(tmp_path: Path, made: Target) -> tuple[CellStatus, str, Path | None]:
    made = dataclasses.replace(made, accel="tcg")
    cell = Cell(target=made, tests=(TEST,))
    store, directory = Store(tmp_path / "cache"), tmp_path / "results"
    done = run_cell(cell, store=store, directory=directory, progress=lambda _text: None)
    assert (done.tests, done.results, done.boot) == ((), None, None)
    return done.status, done.message, done.log


def test_series_that_does_not_apply_is_told_apart(tmp_path: Path, kernel: Path) -> None:
    (tmp_path / "x.patch").write_text(PATCH)
    made = target(kernel=str(kernel), series="none", extra=str(tmp_path / "x.patch"))
    status, message, _ = run(tmp_path, made)
    assert status is CellStatus.NOT_APPLIED
    assert 'extra patch "mm: absent"' in message


def test_tree_that_cannot_be_configured_is_told_apart(tmp_path: Path, kernel: Path) -> None:
    status, message, _ = run(tmp_path, target(kernel=str(kernel), series="none"))
    assert status is CellStatus.NOT_BUILT
    assert "there is no symbol CONFIG_64BIT in this kernel" in message


def test_position_that_is_not_there_is_bad_input(tmp_path: Path, kernel: Path) -> None:
    with pytest.raises(SeriesError, match="no position 3"):
        run(tmp_path, target(kernel=str(kernel), series="none", position="3"))


def test_nothing_of_an_earlier_run_in_the_directory_is_believed(
    tmp_path: Path, kernel: Path
) -> None:
    directory = tmp_path / "results"
    stale = ("results.json", "again/results.json", "console/x.log", "pytest.log", "build.log")
    for name in stale:
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text("ERROR of another run")
    run(tmp_path, target(kernel=str(kernel), series="none"))
    assert [n for n in stale if "another" in _text(directory / n)] == []


def _text(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def test_kernel_to_go_to_that_is_none_is_bad_input(tmp_path: Path, kernel: Path) -> None:
    made = dataclasses.replace(target(kernel=str(kernel), series="none"), accel="tcg")
    cell = Cell(target=made, tests=(TEST,), to=f"{kernel}+unheard-of")
    with pytest.raises(SpecError, match="no mutant and no fix 'unheard-of'"):
        run_cell(cell, store=Store(tmp_path / "cache"), directory=tmp_path / "r", progress=print)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("-k", "nothing"), "no test was chosen"),
        (("nowhere.py",), "made no sense of what is behind --"),
        (("--nonsense",), "made no sense of what is behind --"),
    ],
)
def test_arguments_that_choose_no_test_are_bad_input(
    tmp_path: Path, words: tuple[str, ...], said: str
) -> None:
    (tmp_path / "test_x.py").write_text("def test_one():\n    pass\n")
    argv = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *words]
    status = subprocess.run(argv, cwd=tmp_path, capture_output=True).returncode
    with pytest.raises(InputError, match=said):
        check_ended(status, tmp_path)


@pytest.mark.parametrize("status", [0, 1, 2, 3, 130])
@pytest.mark.parametrize(
    ("name", "text"),
    [("results.json", "{}"), ("junit.xml", '<testsuite errors="0" failures="1" skipped="0"/>')],
)
def test_tests_that_ran_were_chosen(tmp_path: Path, status: int, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    check_ended(status, tmp_path)


@pytest.mark.parametrize(
    ("status", "junit", "said"),
    [
        (-9, None, "pytest was killed by SIGKILL"),
        (1, None, "broke off"),
        (1, "", "broke off"),
        (1, '<testsuite errors="0" failures="0" skipped="1"/>', "broke off"),
    ],
)
def test_pytest_that_breaks_off_is_no_verdict(
    tmp_path: Path, status: int, junit: str | None, said: str
) -> None:
    if junit is not None:
        (tmp_path / "junit.xml").write_text(junit)
    with pytest.raises(InfrastructureError, match=said):
        check_ended(status, tmp_path)


# -- what is kept ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("complete", "kept"), [(True, CellStatus.TESTED), (False, CellStatus.ERROR)]
)
def test_tests_that_broke_off_are_no_verdict(
    tmp_path: Path,
    kernel: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    complete: bool,
    kept: CellStatus,
) -> None:
    directory, store = tmp_path / "results", Store(tmp_path / "cache")
    directory.mkdir()
    outcome = Outcome.ERROR if complete else Outcome.PASSED
    other = TestResult(id="test_it.py::test_b", outcome=Outcome.PASSED, seconds=0.1)
    tests = (TestResult(id=TEST, outcome=outcome, seconds=0.1), other)

    def attached(_argv: list[str], *, log_file: Path, **_more: object) -> int:
        found = run_of(*tests, complete=complete)
        if not log_file.name.startswith("pytest-"):  # nothing comes of asking again
            log_file.write_text("INTERNALERROR> Traceback\n!!! a hook of the suite fails !!!\n")
            found.write(directory / "results.json")
        return 3

    monkeypatch.setattr("harness.run.executor.command.run_attached", attached)
    monkeypatch.setattr("harness.run.executor.Pipeline.new_warnings", lambda _self: ())
    cell = Cell(target=target(kernel=str(kernel), series="none"))
    asked = _Run(cell, store, directory, lambda _text: None)
    build = CellBuild(commit="c", release="r", seconds=1, cached=False, new_warnings=None)
    result = asked._test([], build, "key")
    assert result.status is kept
    assert (
        complete or "before its last test: a hook of the suite fails (status 3)" in result.message
    )
    # Nothing is kept of tests without a verdict either.
    assert store.get("cell", "key") is None


def test_results_are_those_of_the_series_end_only_there(
    tmp_path: Path, kernel: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (kernel / "kernel/a.c").write_text("old\n")
    git(kernel, "add", ".")
    git(kernel, "-c", "user.name=A", "-c", "user.email=a@example.com", "commit", "-qm", "a")
    first = mail("[PATCH 1/1] first")
    second = mail("[PATCH 2/2] second", diff(old="new", new="newer"))
    one = mbox(tmp_path / "one.mbx", first)
    two = mbox(tmp_path / "two.mbx", first.replace("1/1", "1/2"), second)
    monkeypatch.setattr("harness.run.executor.Pipeline.build", lambda _self: None)
    image = SimpleNamespace(key="image")
    monkeypatch.setattr("harness.run.executor.Pipeline.image", lambda _self, _build: image)
    monkeypatch.setattr("harness.run.executor.Pipeline.build_key", lambda _self: "build")
    monkeypatch.setattr("harness.run.executor.qemu_build", lambda _qemu: "qemu")

    def key(series: str) -> tuple[str, str]:
        made = target(kernel=str(kernel), series=series, position="1", accel="tcg")
        store = Store(tmp_path / "cache")
        asked = _Run(Cell(target=made), store, tmp_path / "results", lambda _text: None)
        return asked.pipeline.position().commit, asked._key()

    ends, goes_on = key(one), key(two)
    assert ends[0] == goes_on[0]
    assert ends[1] != goes_on[1]
