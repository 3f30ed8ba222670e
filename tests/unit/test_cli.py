# SPDX-License-Identifier: GPL-2.0-only
"""The command line as a user meets it: one clear error, the right exit code, no traceback."""

from __future__ import annotations

import argparse
import contextlib
import errno
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pexpect
import pytest
from cells import result_of
from patches import write_kernel
from runs import run_of
from schemas import complaints as wrong_with

from harness import __version__
from harness.base.errors import InfrastructureError
from harness.base.store import Store
from harness.cli.main import run_command, run_with_ui
from harness.results.history import History
from harness.results.records import CellStatus
from harness.results.results import Boot, Outcome, TestResult
from harness.run.cell import Cell, CellResult

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = ("doctor", "fetch", "config", "build", "boot", "run", "clean")
COMMANDS += (
    "matrix",
    "bisect",
    "verdict",
    "check-patch",
    "check-series",
    "plan",
    "summary",
    "kcidb",
)


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def harness(cache: Path, *words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "harness", *words],
        cwd=cache.parent,
        env={
            **{name: value for name, value in os.environ.items() if "HARNESS" not in name},
            "HARNESS_CACHE": str(cache),
            "HARNESS_HISTORY": str(cache / "history.sqlite"),
            "COLUMNS": "100",
            "PYTHONPATH": os.environ.get("PYTHONPATH") or str(ROOT),
        },
        capture_output=True,
        text=True,
        timeout=60,
    )


def error_line(done: subprocess.CompletedProcess[str]) -> str:
    """Return the one line that says what is wrong."""
    assert "Traceback" not in done.stderr
    (line,) = [line for line in done.stderr.splitlines() if "error: " in line]
    return line


@pytest.fixture
def kernel(tmp_path: Path) -> Path:
    """A git tree that looks like a kernel from outside, and has one more commit."""
    path = tmp_path / "linux"
    write_kernel(path)
    git(tmp_path, "init", "-q", "-b", "main", str(path))
    git(path, "add", ".")
    git(path, "commit", "-qm", "base")
    (path / "kernel/new.c").write_text("int new;\n")
    git(path, "add", ".")
    git(path, "commit", "-qm", "kernel: add new")
    return path


def git(repo: Path, *words: str) -> None:
    identity = ["-c", "user.name=A", "-c", "user.email=a@example.com"]
    subprocess.run(["git", *identity, "-C", repo, *words], check=True, capture_output=True)


# -- help ------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", COMMANDS)
def test_help_shows_examples(cache: Path, command: str) -> None:
    done = harness(cache, command, "--help")
    assert done.returncode == 0
    assert f"examples:\n  harness {command}" in done.stdout


def test_help_lists_every_command(cache: Path) -> None:
    done = harness(cache, "--help")
    assert done.returncode == 0
    assert "examples:" in done.stdout
    assert [name for name in COMMANDS if not re.search(rf"^    {name}\s", done.stdout, re.M)] == []


def test_harness_alone_shows_its_help(cache: Path) -> None:
    done = harness(cache)
    assert done.stderr == harness(cache, "--help").stdout
    # Nothing was done: no success.
    assert (done.returncode, done.stdout) == (2, "")


def test_version_is_that_of_the_package(cache: Path) -> None:
    assert harness(cache, "--version").stdout == f"harness {__version__}\n"


@pytest.mark.parametrize("words", [("conquer",), ("build", "--no-such-option")])
def test_wrong_usage_is_exit_code_2(cache: Path, words: tuple[str, ...]) -> None:
    done = harness(cache, *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert error_line(done).startswith("harness")


# -- bad input -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ("build", "--position", "seven"),
            "position must be a whole number from 0 on, not 'seven'",
        ),
        (("build", "--position", "-1"), "position must be a whole number from 0 on, not '-1'"),
        (("build", "-j", "many"), "jobs must be a whole number from 1 on, not 'many'"),
        (("fetch", "--base", "v7.0"), "--base goes with --kernel"),
        (("matrix", "--profile", "fast"), "no profile 'fast' in "),
        (("bisect", "--test", "test_absent"), "there is no test 'test_absent'"),
        (("minimize", "nowhere.json", "--test", "test_absent"), "cannot read nowhere.json"),
        (("bisect", "--test", "test_quiesce_is_gone", "--good", "x"), "--good 'x' is no position"),
        (("fetch", "--kernel", "absent"), "there is no "),
        (("fetch", "--series", "absent.mbx"), "there is no series at absent.mbx"),
        (("fetch", "--series", "v1..v2"), "'v1..v2' is no file"),
        (("build", "--cc", "nope"), "there is no compiler 'nope' here"),
        (("matrix", "--cc", "true"), "'true' is no compiler"),
        (("boot", "--cc", "ccache gcc"), "a compiler is one program, not 'ccache gcc'"),
    ],
)
def test_bad_input_is_one_error_line(cache: Path, words: tuple[str, ...], said: str) -> None:
    done = harness(cache, *words)
    assert done.returncode == 2
    assert error_line(done).startswith(f"error: {said}")


def test_bad_input_leaves_nothing_in_the_cache(cache: Path) -> None:
    harness(cache, "fetch", "--series", "absent.mbx")
    assert [path for path in cache.rglob("*") if path.is_file()] == []


def test_unknown_profile_names_the_known_ones(cache: Path, kernel: Path) -> None:
    words = ("--kernel", kernel, "--series", "none", "--profile", "absent")
    done = harness(cache, "build", *words)
    assert done.returncode == 2
    assert error_line(done).startswith("error: no profile 'absent' in ")
    assert "hint: known profiles: default, debug" in done.stderr


def test_unknown_profile_is_said_before_the_tree_is_read(cache: Path, kernel: Path) -> None:
    harness(cache, "build", "--kernel", kernel, "--series", "none", "--profile", "absent")
    assert list((cache / "work").iterdir()) == []


def test_position_outside_the_series_says_the_range(cache: Path, kernel: Path) -> None:
    words = ("--kernel", kernel, "--base", "HEAD~1", "--series", "HEAD~1..HEAD")
    done = harness(cache, "build", *words, "--position", "2")
    assert done.returncode == 2
    assert error_line(done) == "error: there is no position 2"
    assert "hint: positions run from 0 (no patch) to 1 (all)" in done.stderr


def test_unknown_base_is_named(cache: Path, kernel: Path) -> None:
    done = harness(cache, "fetch", "--kernel", kernel, "--base", "v9.9", "--series", "none")
    assert done.returncode == 2
    assert "has no revision 'v9.9'" in error_line(done)


def test_path_that_is_no_kernel_tree_has_a_hint(cache: Path, kernel: Path) -> None:
    git(kernel, "rm", "-q", "Kconfig")
    git(kernel, "commit", "-qm", "no kernel any more")
    done = harness(cache, "fetch", "--kernel", kernel, "--series", "none")
    assert done.returncode == 2
    assert "is no kernel tree" in error_line(done)
    assert "hint: --kernel takes the top of a Linux tree" in done.stderr


def test_directory_without_git_is_no_git_tree(cache: Path, tmp_path: Path) -> None:
    (tmp_path / "plain").mkdir()
    done = harness(cache, "fetch", "--kernel", tmp_path / "plain", "--series", "none")
    assert done.returncode == 2
    assert "is no git tree" in error_line(done)


def test_brackets_in_a_message_are_printed_as_they_are(cache: Path) -> None:
    done = harness(cache, "fetch", "--series", "[bold]v4[/bold].mbx")
    assert error_line(done) == "error: there is no series at [bold]v4[/bold].mbx"


def test_long_message_stays_one_line(cache: Path) -> None:
    name = "x" * 200
    assert error_line(harness(cache, "fetch", "--series", name)).endswith(name)


def test_debug_shows_the_traceback(cache: Path) -> None:
    done = harness(cache, "fetch", "--debug", "--series", "absent.mbx")
    assert done.returncode == 2
    assert "Traceback" in done.stderr


def test_unwritable_json_is_an_error(cache: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = harness(cache, "clean", "--json", tmp_path / "file" / "out.json")
    assert done.returncode == 2
    assert error_line(done).startswith("error: cannot write ")


def test_cache_that_is_a_file_is_an_error(cache: Path) -> None:
    cache.touch()
    done = harness(cache, "clean")
    assert done.returncode == 2
    assert str(cache) in error_line(done)


def test_results_directory_that_is_a_file_is_an_error(cache: Path, tmp_path: Path) -> None:
    (tmp_path / "results").touch()
    done = harness(cache, "run", "--base", "v7.0")
    assert done.returncode == 2
    assert "error: " in error_line(done)


def test_run_that_comes_to_nothing_leaves_no_results_of_an_earlier_one(
    cache: Path, tmp_path: Path
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "results.json").touch()
    done = harness(cache, "run", "--base", "v7.0", "--results", tmp_path / "out")
    assert done.returncode == 2
    assert list((tmp_path / "out").iterdir()) == []


QUIESCE = ("--test", "test_quiesce_is_gone")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--test", "test_absent"), "there is no test 'test_absent'"),
        ((*QUIESCE, "--kernel", "absent"), "there is no "),
        ((*QUIESCE, "--profile", "fast"), "no profile 'fast'"),
        ((*QUIESCE, "--tries", "0"), "--tries must be a whole number"),
        ((*QUIESCE, "--bad-on", "luck"), "invalid choice: 'luck'"),
        ((), "required: --test"),
    ],
)
def test_git_bisect_stops_at_bad_input(
    cache: Path, kernel: Path, words: tuple[str, ...], said: str
) -> None:
    if "--kernel" not in words:
        words = (*words, "--kernel", str(kernel))
    done = harness(cache, "verdict", *words)
    assert done.returncode == 128
    assert said in error_line(done)


def test_git_bisect_skips_what_does_not_build(cache: Path, kernel: Path) -> None:
    words = (*QUIESCE, "--kernel", kernel, "--accel", "tcg")
    for further in ((), ("--fixed",)):
        done = harness(cache, "verdict", *words, *further)
        assert done.returncode == 125
        assert done.stdout.startswith("no verdict: does not build: ")


def test_git_bisect_may_be_told_that_no_build_is_bad(cache: Path, kernel: Path) -> None:
    words = (*QUIESCE, "--kernel", kernel, "--accel", "tcg", "--bad-on", "build")
    assert harness(cache, "verdict", *words).returncode == 1
    assert harness(cache, "verdict", *words, "--fixed").returncode == 0


def test_git_bisect_stops_at_a_broken_cache(cache: Path, kernel: Path) -> None:
    cache.mkdir()
    (cache / "work").touch()
    done = harness(cache, "verdict", *QUIESCE, "--kernel", kernel)
    assert done.returncode == 128


def test_bisect_range_needs_a_tree_of_its_own(cache: Path) -> None:
    done = harness(cache, "bisect", *QUIESCE, "--range", "v7.0..HEAD")
    assert done.returncode == 2
    assert "--range goes with --kernel" in error_line(done)


# -- checks for b4 ---------------------------------------------------------------------------


def test_check_patch_tells_b4_what_does_not_apply(
    cache: Path, kernel: Path, tmp_path: Path
) -> None:
    file = tmp_path / "x.patch"
    file.write_text(
        "From: A <a@example.com>\nSubject: [PATCH 1/9] mm: absent\n\n---\n"
        "diff --git a/mm/absent.c b/mm/absent.c\n--- a/mm/absent.c\n+++ b/mm/absent.c\n"
        "@@ -1 +1 @@\n-a\n+b\n"
    )
    words = ("check-patch", file, "--kernel", kernel, "--accel", "tcg", "--", "-k", "memfd")
    done = harness(cache, *words)
    assert done.returncode == 2
    (check,) = json.loads(done.stdout)
    assert (check["tool"], check["status"]) == ("harness apply", "fail")
    assert "mm/absent.c is not in the tree" in check["summary"]
    assert "-k memfd" in check["details"]


def test_check_patch_of_no_patch_prints_no_json(cache: Path, tmp_path: Path) -> None:
    (tmp_path / "x").write_text("Subject: hello\n\n")
    done = harness(cache, "check-patch", tmp_path / "x")
    assert (done.returncode, done.stdout) == (2, "")
    assert "one patch is expected" in error_line(done)


def test_check_series_that_is_not_known(cache: Path, tmp_path: Path) -> None:
    (tmp_path / "x").write_text("Subject: [PATCH 0/3] mm: other\n\n")
    done = harness(cache, "check-series", tmp_path / "x")
    assert (done.returncode, done.stdout) == (2, "")
    assert 'the patches of "mm: other" are not known' in error_line(done)


# -- what works without a build --------------------------------------------------------------


def test_fetch_lists_positions(cache: Path, kernel: Path) -> None:
    words = ("--kernel", kernel, "--base", "HEAD~1", "--series", "HEAD~1..HEAD")
    done = harness(cache, "fetch", *words)
    assert done.returncode == 0
    head, *rows = done.stdout.splitlines()
    assert head.startswith("Linux 7.0.1: ")
    assert [row.split(maxsplit=2)[::2] for row in rows] == [["0", "base"], ["1", "kernel: add new"]]


def test_fetch_json(cache: Path, kernel: Path, tmp_path: Path) -> None:
    out = tmp_path / "deep" / "out.json"
    words = ("--kernel", kernel, "--base", "HEAD~1", "--series", "HEAD~1..HEAD")
    assert harness(cache, "fetch", *words, "--json", out).returncode == 0
    found = json.loads(out.read_text())
    assert wrong_with("fetch", found) == []
    assert found["version"] == "7.0.1"
    assert [p["subject"] for p in found["series"]["patches"]] == ["kernel: add new"]


def test_clean_json(cache: Path, tmp_path: Path) -> None:
    with Store(cache).produce("build", "k") as entry:
        (entry / "kernel").write_bytes(b"x" * 8192)
    out = tmp_path / "out.json"
    done = harness(cache, "clean", "--json", out)
    assert done.returncode == 0
    found = json.loads(out.read_text())
    assert wrong_with("clean", found) == []
    assert (found["entries"], found["root"]) == (1, str(cache))
    assert found["bytes"] >= 8192
    assert Store(cache).get("build", "k") is None


@pytest.mark.parametrize(("words", "kept"), [((), True), (("--all",), False)])
def test_clean_drops_object_trees_only_with_all(
    cache: Path, words: tuple[str, ...], kept: bool
) -> None:
    file = Store(cache).work("tree") / "src"
    file.touch()
    assert harness(cache, "clean", *words).returncode == 0
    assert file.exists() is kept


def test_clean_of_an_empty_cache(cache: Path) -> None:
    done = harness(cache, "clean")
    assert done.returncode == 0
    assert done.stdout.startswith("dropped 0 entries")


def test_doctor_json_lists_what_was_looked_for(cache: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    harness(cache, "doctor", "--json", out)
    found = json.loads(out.read_text())
    assert wrong_with("doctor", found) == []
    assert {"make", "gcc", "git"} <= {item["name"] for item in found["items"]}


def test_kernels_json(cache: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    assert harness(cache, "kernels", "--json", out).returncode == 0
    found = json.loads(out.read_text())
    assert wrong_with("kernels", found) == []
    assert "7.0.13" in {item["name"] for item in found}


def test_cache_json(cache: Path, tmp_path: Path) -> None:
    with Store(cache).produce("build", "k") as entry:
        (entry / "kernel").write_bytes(b"x" * 8192)
    out = tmp_path / "out.json"
    assert harness(cache, "cache", "list", "--json", out).returncode == 0
    found = json.loads(out.read_text())
    assert wrong_with("cache", found) == []
    assert found["kinds"]["build"]["entries"] == 1


@pytest.mark.parametrize(
    "words", [("runs",), ("test", "x"), ("flaky",), ("bad",), ("figures",)], ids=lambda w: w[0]
)
def test_history_json(cache: Path, tmp_path: Path, words: tuple[str, ...]) -> None:
    cache.mkdir()
    with History(cache / "history.sqlite") as history:
        for outcome in (Outcome.PASSED, Outcome.FAILED):
            test = TestResult(id="test_a.py::x", outcome=outcome, seconds=0.5)
            history.add_run(run_of(test), directory=tmp_path, inputs="i")
        figure = {"min": 1.0, "median": 2.0, "max": 3.0, "unit": "s", "runs": 5}
        history.add_figures({"boot": figure}, release="r", accel="tcg", profile="default")
    out = tmp_path / "out.json"
    assert harness(cache, "history", *words, "--json", out).returncode == 0
    found = json.loads(out.read_text())
    assert wrong_with("history", found) == []
    assert found[words[0]]


def test_history_of_nothing_says_so(cache: Path) -> None:
    done = harness(cache, "history")
    assert (done.returncode, done.stdout) == (0, "nothing is recorded\n")


def test_history_keeps_no_negative_number_of_runs(cache: Path) -> None:
    done = harness(cache, "history", "--keep", "-1")
    assert done.returncode == 2
    assert "there are no such runs" in done.stderr


def test_history_that_is_none_is_refused(cache: Path) -> None:
    cache.mkdir()
    (cache / "history.sqlite").write_text("something else" * 100)
    done = harness(cache, "history")
    assert done.returncode == 2
    assert "history.sqlite cannot be used as the history" in done.stderr
    assert "hint:" in done.stderr


def test_report_of_nothing_is_refused(cache: Path) -> None:
    done = harness(cache, "report", str(cache.parent))
    assert done.returncode == 2
    assert "holds no results" in done.stderr


@pytest.mark.parametrize("words", [("--max-gib=0",), ("--room=0",), ("--unused-days=1",)])
def test_cache_prune_says_what_went(cache: Path, tmp_path: Path, words: tuple[str, ...]) -> None:
    store, out = Store(cache), tmp_path / "out.json"
    with store.produce("build", "a") as directory:
        (directory / "kernel").write_text("kernel")
    os.utime(cache / "objects/build/a/manifest.json", (1, 1))
    assert "build        1" in harness(cache, "cache", "list").stdout
    assert "dropped: 0.00 GB" in harness(cache, "cache", "prune").stdout
    done = harness(cache, "cache", "prune", f"--json={out}", *words)
    assert done.returncode == 0
    found = json.loads(out.read_text())
    assert wrong_with("cache", found) == []
    assert {kind: facts["entries"] for kind, facts in found["kinds"].items()} == {"build": 1}
    assert not (cache / "objects/build/a").exists()


@pytest.mark.parametrize("words", [(), ("--all",)])
def test_clean_drops_what_is_not_in_use(cache: Path, words: tuple[str, ...]) -> None:
    store = Store(cache)
    for key in ("a", "b"):
        with store.produce("build", key) as directory:
            (directory / "kernel").write_text("kernel")
    (cache / "work/linux").mkdir()
    (cache / "keys").mkdir()
    assert store.get("build", "a")
    done = harness(cache, "clean", *words)
    assert f"dropped {1 + len(words)} entries" in done.stdout
    assert "left 1 that are in use" in done.stdout
    there = [path.name for path in cache.glob("objects/build/*")]
    assert (there, (cache / "work/linux").exists()) == (["a"], not words)
    assert (cache / "keys").exists()


@pytest.mark.parametrize("command", [("cache", "list"), ("kernels",)])
def test_room_that_is_no_number_is_refused(cache: Path, command: tuple[str, ...]) -> None:
    done = harness(cache, *command, "--room=much")
    assert done.returncode == 2
    assert "room must be a number of GiB, not 'much'" in done.stderr


def test_cache_list_of_nothing(cache: Path) -> None:
    done = harness(cache, "cache", "list")
    assert done.returncode == 0
    assert "in all: 0.00 GB" in done.stdout


# -- what a cell is asked ----------------------------------------------------------------------


@pytest.mark.parametrize(("words", "strict"), [((), False), (("--strict",), True)])
def test_findings_fail_coverage_when_it_is_strict(
    cache: Path,
    kernel: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: tuple[str, ...],
    strict: bool,
) -> None:
    asked: list[Cell] = []

    def run(cell: Cell, **_options: object) -> CellResult:
        asked.append(cell)
        raise InfrastructureError("that was all")

    monkeypatch.setenv("HARNESS_CACHE", str(cache))
    monkeypatch.setattr("harness.cli.judge.run_cell", run)
    results = cache.parent / "results"
    given = [f"--kernel={kernel}", "--series=none", f"--results={results}", *words]
    assert run_command(["coverage", *given]) == 3
    assert [(cell.strict, cell.target.profile) for cell in asked] == [(strict, "coverage")]


@pytest.mark.parametrize(
    ("status", "boot", "code"),
    [
        (CellStatus.NOT_BUILT, None, 2),
        (CellStatus.NOT_BOOTED, Boot.CRASHED, 1),
        (CellStatus.NOT_BOOTED, Boot.UNUSABLE, 3),
        (CellStatus.ERROR, Boot.ERROR, 3),
    ],
)
def test_coverage_of_what_runs_no_tests(
    cache: Path,
    kernel: Path,
    monkeypatch: pytest.MonkeyPatch,
    status: CellStatus,
    boot: Boot | None,
    code: int,
) -> None:
    def run(cell: Cell, **_options: object) -> CellResult:
        return result_of(cell, status=status, boot=boot)

    monkeypatch.setenv("HARNESS_CACHE", str(cache))
    monkeypatch.setattr("harness.cli.judge.run_cell", run)
    results = cache.parent / "results"
    given = [f"--kernel={kernel}", "--series=none", f"--results={results}"]
    assert run_command(["coverage", *given]) == code


@pytest.mark.parametrize(
    ("error", "said", "traced"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "f"), "the host: No space left", False),
        (OSError(errno.EACCES, "Permission denied", "f"), "Permission denied", True),
        (ValueError("a bug of ours"), "a bug of ours", True),
    ],
    ids=["full disk", "other", "bug"],
)
def test_error_that_nobody_expected_is_no_verdict(
    capsys: pytest.CaptureFixture[str], error: Exception, said: str, *, traced: bool
) -> None:
    def fail(_args: object, _ui: object) -> int:
        raise error

    assert run_with_ui(argparse.Namespace(verbose=0, debug=False, run=fail)) == 3
    told = capsys.readouterr().err
    assert said in told
    assert ("Traceback" in told) is traced


# -- signals -----------------------------------------------------------------------------------

WAITS = """\
import argparse, sys
from harness.base import command
from harness.cli.main import run_with_ui

def wait(args, ui):
    said = "import time; print('ready', flush=True); time.sleep(100)"
    return command.run_attached([sys.executable, "-c", said])

sys.exit(run_with_ui(argparse.Namespace(verbose=0, debug=False, run=wait)))
"""
"""A command that waits for a program, as every command does for pytest."""


def nothing_ignored() -> None:
    """Undo what these tests may have been started with, by nohup or in the background."""
    for number in (signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)


@contextlib.contextmanager
def waiting(tmp_path: Path, ignored: str) -> Iterator[subprocess.Popen[bytes]]:
    """Start a command with signals ignored, as a shell does it, and its program."""
    script = tmp_path / "waits.py"
    script.write_text(WAITS)
    # What is ignored stays so over an exec; -: of none.
    words = ["sh", "-c", f"trap '' {ignored}; exec \"$@\"", "sh", sys.executable, script]
    log = tmp_path / "log"
    with (
        log.open("wb") as sink,
        subprocess.Popen(words, stdout=sink, stderr=sink, preexec_fn=nothing_ignored) as process,
    ):
        try:
            deadline = time.monotonic() + 30
            while "ready" not in log.read_text() and time.monotonic() < deadline:
                time.sleep(0.05)
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("ignored", ["USR1", "INT QUIT"], ids=["foreground", "background"])
def test_signal_that_ends_a_command_ends_its_program_at_once(
    tmp_path: Path, ignored: str, sent: signal.Signals
) -> None:
    with waiting(tmp_path, ignored) as process:
        process.send_signal(sent)
        # Far less than the program would be given to tear down, which is a minute.
        assert process.wait(20) == 130
    said = (tmp_path / "log").read_text()
    assert "KeyboardInterrupt" in said, "the program was asked, not killed"
    assert said.endswith("interrupted\n")


def test_command_whose_terminal_goes_ends_as_by_an_interrupt(tmp_path: Path) -> None:
    script, code = tmp_path / "waits.py", tmp_path / "code"
    # With progress, which writes to the terminal to its end; and the exit code into a file.
    drawn = "with ui.progress() as progress, progress.lane('x'):\n        return command"
    script.write_text(WAITS.replace("return command", drawn).replace("sys.exit(", "print(", 1))
    shell = 'exec "$0" "$1" >"$2"'
    words = ["-c", shell, sys.executable, str(script), str(code)]
    child = pexpect.spawn("sh", words, timeout=30, preexec_fn=nothing_ignored)
    deadline = time.monotonic() + 30
    while not (code.exists() and code.read_text()) and time.monotonic() < deadline:
        time.sleep(0.05)
    os.close(child.child_fd)
    os.waitpid(child.pid, 0)
    assert code.read_text().split() == ["ready", "130"]


@pytest.mark.parametrize(
    ("ignored", "sent"), [("HUP", signal.SIGHUP), ("INT", signal.SIGINT)], ids=["nohup", "&"]
)
def test_signal_that_is_to_be_ignored_is(
    tmp_path: Path, ignored: str, sent: signal.Signals
) -> None:
    with waiting(tmp_path, ignored) as process:
        process.send_signal(sent)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(2)
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 130
