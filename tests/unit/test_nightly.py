# SPDX-License-Identifier: GPL-2.0-only
from __future__ import annotations

import json
import multiprocessing
import subprocess
from pathlib import Path
from typing import Any

import pytest
from cells import cell_at, outcome_of, result_of
from schemas import complaints as wrong_with

from harness.base.errors import ExitCode, InfrastructureError, SpecError
from harness.base.store import Store
from harness.cli.main import run_command
from harness.report.nightly import WIDTH, record_of, summary
from harness.report.page import render
from harness.results.form import from_plain
from harness.results.records import CellStatus, NightlyRecord, record_json
from harness.run.cell import CellResult
from harness.search.nightly import (
    NightlyKernel,
    Part,
    _fetched,
    nightly_code,
    only_one,
    read_nightly,
    run_nightly,
)


def written(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "nightly.yaml"
    file.write_text(text)
    return file


# -- the file --------------------------------------------------------------------------------


def test_shipped_file_can_be_read() -> None:
    spec = read_nightly(Path(__file__).parents[2] / "scripts" / "nightly.yaml")
    kernels = [(kernel.name, kernel.known, kernel.series) for kernel in spec.kernels]
    assert kernels == [
        ("pinned", None, None),
        ("7.2.13", "7.2.13", ("none",)),
        ("7.3.4", "7.3.4", ("none",)),
    ]
    assert (spec.series, spec.positions) == (("shipped",), None)
    assert spec.profiles == ("default", "default@aarch64")


SHIPPED = Path(__file__).parents[2] / "scripts" / "nightly"


@pytest.mark.parametrize(
    ("config", "words", "asked"),
    [
        ("profiles: [default, debug@aarch64, default@aarch64]", [], ["", "--arch aarch64"]),
        ("kernels: {a: {git: git@example.org:x}}  # not debug@aarch64", [], [""]),
        ("profiles: [default]", ["--config", "other"], ["", "--arch x86_64"]),
        ("profiles: [default]", ["-v", "--config=other"], ["", "--arch x86_64"]),
        ("profiles: [default@aarch64]", ["--config", "absent"], [""]),
    ],
)
def test_script_sets_up_what_the_guests_of_the_file_need(
    tmp_path: Path, config: str, words: list[str], asked: list[str]
) -> None:
    scripts, programs = tmp_path / "scripts", tmp_path / ".venv" / "bin"
    for directory in (scripts, programs):
        directory.mkdir(parents=True)
    (scripts / "nightly").write_text(SHIPPED.read_text())
    (scripts / "nightly.yaml").write_text(f"{config}\n")
    (tmp_path / "other").write_text("profiles: [default@x86_64]\n")
    (scripts / "environment").touch()
    for program in (scripts / "setup", programs / "harness", programs / "pytest"):
        program.write_text(f'#!/bin/sh\necho "$*" >>"{tmp_path}/{program.name}.log"\n')
        program.chmod(0o755)
    subprocess.run(["sh", scripts / "nightly", *words], cwd=tmp_path, check=True, timeout=30)
    assert (tmp_path / "setup.log").read_text().splitlines() == asked
    assert (tmp_path / "harness.log").read_text().splitlines()[0] == " ".join(["nightly", *words])


def test_kernels_are_trees_branches_or_the_pinned_package(tmp_path: Path) -> None:
    spec = read_nightly(
        written(
            tmp_path,
            "kernels:\n  a: {package: pinned}\n  b: {path: linux}\n"
            "  c: {git: /srv/linux.git, branch: master}\n  d: {name: next, series: [none, v4]}\n"
            "budget_minutes: 1.5\n",
        )
    )
    a, b, c, d = spec.kernels
    assert (d.known, d.series, c.series) == ("next", ("none", "v4"), None)
    assert (a.path, a.git) == (None, None)
    assert b.path == tmp_path / "linux"
    assert (c.git, c.branch) == ("/srv/linux.git", "master")
    assert spec.budget_s == 90


def test_kernel_may_be_below_the_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (kernel,) = read_nightly(written(tmp_path, "kernels:\n  a: {path: ~/linux}\n")).kernels
    assert kernel.path == tmp_path / "home" / "linux"


@pytest.mark.parametrize("text", ["bin/qemu", "qemu"])
def test_qemu_is_a_program_beside_the_file_or_on_the_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    program = tmp_path / "bin" / "qemu"
    program.parent.mkdir()
    program.touch(mode=0o755)
    monkeypatch.setenv("PATH", str(program.parent))
    file = written(tmp_path, f"kernels: {{a: {{package: pinned}}}}\nqemu: {text}\n")
    assert read_nightly(file).qemu == program


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "kernels: {a: {package: pinned}}\nqemu: bin/none\n",
            "nightly.yaml:2: qemu: there is no program '/.*/bin/none'",
        ),
        ("kernels: {a: {package: pinned}}\nbudget: 3\n", "nightly.yaml:2: unknown key 'budget'"),
        ("kernels: {a: {}}\n", "one of git, path, name and package"),
        ("kernels: {a: {name: 9.9}}\n", "must be str"),
        ("kernels: {a: {name: other}}\n", "there is no kernel 'other'"),
        ("kernels: {a: {package: other}}\n", "there is no package 'other'"),
        ("kernels: {a: {git: x}}\n", "git and branch go together"),
        ("kernels: {}\n", "no kernel is named"),
        ("kernels: {a: {package: pinned}}\nprofiles: [fast]\n", "fast"),
        ("series: [shipped]\n", "lacks the key 'kernels'"),
    ],
)
def test_wrong_file_is_refused(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(SpecError, match=said.replace("[", r"\[")):
        read_nightly(written(tmp_path, text))


# -- one at a time, and the newest state -------------------------------------------------------


def _hold(root: Path, held: Any, done: Any) -> None:
    with only_one(Store(root)):
        held.set()
        done.wait(30)


def test_two_nightlies_never_overlap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    context = multiprocessing.get_context("spawn")
    held, done = context.Event(), context.Event()
    other = context.Process(target=_hold, args=(tmp_path, held, done))
    other.start()
    assert held.wait(30)
    with (
        pytest.raises(InfrastructureError, match="another nightly is under way"),
        only_one(Store(tmp_path)),
    ):
        pass
    # What the first one has found so far is left alone.
    results = tmp_path / "results"
    results.mkdir()
    (results / "matrix.json").write_text("{}")
    file = written(tmp_path, "kernels:\n  a:\n    name: 7.0.13\n")
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path))
    assert run_command(["nightly", f"--config={file}", f"--results={results}"]) == 3
    assert (results / "matrix.json").exists()
    done.set()
    other.join(30)
    with only_one(Store(tmp_path)):
        pass


def test_history_that_takes_nothing_is_trouble_of_the_runner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "history").write_text("no database, and long enough to be looked at\n" * 99)
    monkeypatch.setenv("HARNESS_HISTORY", str(tmp_path / "history"))
    spec = read_nightly(written(tmp_path, "kernels:\n  a:\n    path: absent\n"))
    store = Store(tmp_path / "cache")
    (found,) = run_nightly(spec, store, tmp_path, lambda _text: None, parallel=1)
    assert found.bad_input


def git(repo: Path, *words: str) -> str:
    identity = ["-c", "user.name=A", "-c", "user.email=a@example.com"]
    done = subprocess.run(
        ["git", *identity, "-C", repo, *words], check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


def test_newest_state_of_a_branch_is_fetched_each_time(tmp_path: Path) -> None:
    upstream = tmp_path / "upstream"
    subprocess.run(["git", "init", "-q", "-b", "next", upstream], check=True)
    store = Store(tmp_path / "cache")
    kernel = NightlyKernel(name="next", git=str(upstream), branch="next")
    for turn in ("one", "two"):
        git(upstream, "commit", "-q", "--allow-empty", "-m", turn)
        fetched = _fetched(kernel, store, lambda _text: None)
        assert git(fetched, "log", "-1", "--format=%s", "refs/heads/nightly") == turn
    # A branch that was rebased is taken as it is now.
    git(upstream, "commit", "-q", "--amend", "--allow-empty", "-m", "anew")
    assert git(_fetched(kernel, store, print), "log", "-1", "--format=%s", "nightly") == "anew"


def test_branch_of_another_users_repository_is_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upstream = tmp_path / "upstream"
    subprocess.run(["git", "init", "-q", "-b", "next", upstream], check=True)
    git(upstream, "commit", "-q", "--allow-empty", "-m", "one")
    kernel = NightlyKernel(name="next", git=str(upstream), branch="next")
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    fetched = _fetched(kernel, Store(tmp_path / "cache"), lambda _text: None)
    monkeypatch.undo()
    assert git(fetched, "log", "-1", "--format=%s", "nightly") == "one"


def test_branch_that_cannot_be_fetched_is_trouble_of_the_runner(tmp_path: Path) -> None:
    kernel = NightlyKernel(name="gone", git=str(tmp_path / "nowhere"), branch="main")
    with pytest.raises(InfrastructureError, match="cannot fetch main of"):
        _fetched(kernel, Store(tmp_path / "cache"), lambda _text: None)


# -- what is said ------------------------------------------------------------------------------


def cell(position: int, status: CellStatus = CellStatus.TESTED, **tests: str) -> CellResult:
    message = "luo_core.c:12: error: expected ';'"
    why = "why it is so " * 12
    return result_of(
        cell_at(position),
        *(outcome_of(f"test_a.py::{name}", word, why) for name, word in tests.items()),
        status=status,
        message=message if status is CellStatus.NOT_BUILT else "",
    )


def part(*results: CellResult, **changes: Any) -> Part:
    return Part(
        name="pinned-series",
        directory=Path("d"),
        planned=len(results),
        results=list(results),
        **changes,
    )


def text_of(*parts: Part) -> str:
    return summary(parts, seconds=3700, directory=Path("/results"), date="2026-11-24")


def test_good_night() -> None:
    parts = [part(cell(0, a="passed"), cell(1, a="passed"))]
    text = text_of(*parts)
    assert "all as it should be" in text.splitlines()[0]
    assert "2 of 2 cells tested, 2 tests passed" in text
    assert "1 h 02 min" in text
    assert nightly_code(parts) is ExitCode.PASSED


def test_failing_test_is_named() -> None:
    parts = [part(cell(3, a="failed!"))]
    text = text_of(*parts)
    assert "position 3, default: test_a.py::a: failed, stated: passed" in text
    assert nightly_code(parts) is ExitCode.TESTS_FAILED


def test_what_has_one_cause_is_said_once() -> None:
    text = text_of(part(*(cell(number, a="failed!") for number in (3, 4, 7))))
    assert "3 things to look at" in text
    assert "positions 3 to 4, 7, default: test_a.py::a: failed, stated: passed" in text
    assert text.count("test_a.py::a") == 1


def test_kernel_that_does_not_build_is_no_failing_test() -> None:
    parts = [part(cell(7, CellStatus.NOT_BUILT))]
    text = text_of(*parts)
    assert "the kernel:\n    position 7, default: does not build, stated: tested" in text
    assert "luo_core.c:12" in text
    assert "  tests:" not in text
    assert nightly_code(parts) is ExitCode.TESTS_FAILED


def test_trouble_of_the_runner_is_told_apart() -> None:
    parts = [part(cell(1, a="error!")), part(trouble="there is no QEMU")]
    text = text_of(*parts)
    assert "without a verdict: trouble of the runner" in text
    assert "trouble of the runner: there is no QEMU" in text
    assert "  tests:" not in text
    assert nightly_code(parts) is ExitCode.INFRASTRUCTURE
    # A verdict weighs more.
    assert nightly_code([*parts, part(cell(1, a="failed!"))]) is ExitCode.TESTS_FAILED


def test_what_was_not_reached_is_said() -> None:
    text = text_of(part(cell(0, a="passed"), unreached=[cell_at(1), cell_at(2)]))
    assert "not reached: p01 default, p02 default" in text
    assert "Not reached in time: 2 cells" in text


def test_patches_in_the_tree_already_are_said() -> None:
    assert "in the tree already: patches 1, 2, 3" in text_of(part(already=(1, 2, 3)))


def test_nightly_has_a_page_of_its_own(tmp_path: Path) -> None:
    parts = [part(cell(4, test_x="failed!")), part(trouble="no <b>route</b>")]
    record = record_of(parts, seconds=61.0, date="2026-11-24")
    found = record_json(record)
    assert from_plain(NightlyRecord, found) == record
    assert wrong_with("nightly", found) == []
    (tmp_path / "nightly.json").write_text(json.dumps(found))
    page = render(tmp_path, {})
    assert "Nightly of 2026-11-24" in page
    assert "1 not as it should be" in page
    assert "no &lt;b&gt;route&lt;/b&gt;" in page
    assert [(item["kernel"], item["runner"]) for item in found["parts"]] == [(1, 0), (0, 1)]


def test_summary_fits_a_mail() -> None:
    many = {f"a_test_with_quite_a_long_name_{n}": "failed!" for n in range(5)}
    text = text_of(
        part(cell(4, **many), trouble="x " * 100, unreached=[cell_at(n) for n in range(30)])
    )
    assert max(map(len, text.splitlines())) <= WIDTH
