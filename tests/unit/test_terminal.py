# SPDX-License-Identifier: GPL-2.0-only
"""Progress: lines in a file, a picture in a terminal, and results beside it."""

from __future__ import annotations

import io
import json
import os
import pty
import re
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console
from runs import run_of

from harness.base.progress import Building, Count, Progress, Running, Stage
from harness.base.store import Store
from harness.base.terminal import ProgressDisplay
from harness.results.history import History
from harness.results.pace import Pace
from harness.results.results import Outcome, TestResult

P05 = Running(release="7.0.13-p05")
LAST: dict[Stage, float] = {P05: 61.0}


def lines(work: Callable[[ProgressDisplay], None], total: int | None = None) -> list[str]:
    """Return what is printed where there is no terminal, without the times."""
    file = io.StringIO()
    progress = ProgressDisplay(Console(file=file, width=80), LAST.get, total)
    with progress.shown():
        work(progress)
    return [re.sub(r"^\[ *\d+\.\d s\] ", "", line) for line in file.getvalue().splitlines()]


def test_every_word_is_a_plain_line_without_a_terminal() -> None:
    def work(progress: ProgressDisplay) -> None:
        progress(Progress("configuring [bold]profile[/]"))
        with progress.lane("p05-default") as say:
            say(Progress(P05))
            say(Progress(P05, "test_x", Count(done=50, unit="%")))

    assert lines(work) == [
        "configuring [bold]profile[/]",
        "p05-default: testing 7.0.13-p05 (last time 1 min 01 s)",
        "p05-default: testing 7.0.13-p05: 50%, test_x",
    ]


SHOW = """
    import sys, time
    from rich.text import Text
    from harness.base.progress import Building, Count, Progress, Running
    from harness.base.terminal import Ui

    r5 = Running(release="r5")
    build = Building(commit="c", profile="debug", localversion="-p06-debug")
    ui = Ui(verbose=0)
    with ui.progress({r5: 61.0}.get, total=3) as progress:
        with progress.lane("p05-default") as one, progress.lane("p06-debug") as two:
            one(Progress(r5, "test_a", Count(done=40, unit="%")))
            two(Progress(build, count=Count(done=312, unit="objects")))
            time.sleep(0.6)
            progress.done()
            ui.line(Text("a line of the result"))
            time.sleep(0.6)
    ui.out.print("the end")
"""


def in_terminal(*, both: bool = False) -> tuple[str, str]:
    """Run :data:`SHOW` with standard error in a terminal; return that, and standard output.

    :param both: whether standard output goes to the terminal as well.
    """
    ours, theirs = pty.openpty()
    env = os.environ | {"TERM": "xterm", "COLUMNS": "100", "LINES": "30"}
    env.pop("NO_COLOR", None)
    words = [sys.executable, "-c", textwrap.dedent(SHOW)]
    stdout = theirs if both else subprocess.PIPE
    with subprocess.Popen(words, stderr=theirs, stdout=stdout, env=env) as run:
        os.close(theirs)
        seen = b""
        while True:
            try:
                seen += os.read(ours, 4096)
            except OSError:  # the other end is closed
                break
        out = run.stdout.read() if run.stdout is not None else b""
    os.close(ours)
    assert run.returncode == 0, seen
    return seen.decode(), out.decode()


def test_terminal_shows_everything_that_is_under_way() -> None:
    seen, _ = in_terminal()
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", seen)
    assert re.search(r"p05-default +testing r5: 40%, test_a +\d+ s, last time 1 min 01 s", plain)
    assert re.search(r"p06-debug +building c \(debug-p06-debug\): 312 objects +\d+ s", plain)
    assert re.search(r"1 of 3 done, \d+ s, about \d+ s to go", plain)


def test_results_go_to_standard_output_although_progress_is_shown() -> None:
    seen, out = in_terminal()
    assert out == "a line of the result\nthe end\n"
    assert "a line of the result" not in seen


def screen(seen: str) -> list[str]:
    """Return what is left on a terminal's screen: what a cursor moves over is written anew."""
    rows, at, column = [""], 0, 0
    for word in re.findall(r"\x1b\[[0-9;?]*[A-Za-z]|\r|\n|[^\x1b\r\n]+", seen):
        if word == "\n":
            at += 1
            rows += [""] * (at == len(rows))
        elif word == "\r":
            column = 0
        elif move := re.fullmatch(r"\x1b\[(\d*)A", word):
            at -= int(move.group(1) or 1)
        elif word == "\x1b[2K":
            rows[at] = ""
        elif not word.startswith("\x1b"):
            rows[at] = rows[at][:column].ljust(column) + word + rows[at][column + len(word) :]
            column += len(word)
    return [row.rstrip() for row in rows if row.strip()]


def test_progress_leaves_results_alone_and_nothing_of_itself() -> None:
    seen, _ = in_terminal(both=True)
    assert screen(seen) == ["a line of the result", "the end"]


def test_colour_is_for_terminals_only() -> None:
    seen, out = in_terminal()
    assert "\x1b[" in seen
    assert "\x1b" not in out


# -- how long things took ----------------------------------------------------------------------


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setenv("HARNESS_HISTORY", str(tmp_path / "history.sqlite"))
    return Store(tmp_path / "cache")


def add_build(store: Store, profile: str, release: str, seconds: float, at: float) -> None:
    path = store.root / "objects" / "build" / f"{release}-{at}" / "build.json"
    path.parent.mkdir(parents=True)
    facts = {"profile": profile, "release": release, "seconds": seconds}
    path.write_text(json.dumps(facts))
    os.utime(path, (at, at))


def test_build_takes_what_the_newest_of_its_position_took(store: Store) -> None:
    add_build(store, "debug", "7.0.13-p06-debug", 100.0, at=1)
    add_build(store, "debug", "7.0.13-p06-debug", 120.0, at=2)
    add_build(store, "debug", "7.0.13-p07-debug", 300.0, at=3)
    add_build(store, "default", "7.0.13-p06", 20.0, at=4)
    pace = Pace(store)

    def took(profile: str, localversion: str) -> float | None:
        return pace.seconds(Building(commit="c0ffee", profile=profile, localversion=localversion))

    assert took("debug", "-p06-debug") == 120.0
    assert took("debug", "-p05-debug") == 300.0
    assert took("kcsan", "-p05-kcsan") is None


def test_tests_take_what_the_newest_run_of_the_kernel_took(store: Store) -> None:
    with History() as history:
        for at, seconds in ((1.0, 50.0), (2.0, 61.0)):
            test = TestResult(id="t", outcome=Outcome.PASSED, seconds=0.1)
            results = run_of(test, kernel={"release": "7.0.13-p05"}, seconds=seconds)
            history.add_run(results, directory=Path("r"), inputs="i", at=at)
    assert Pace(store).seconds(P05) == 61.0
    assert Pace(store).seconds(Running(release="7.0.13-p06")) is None
    assert Pace(store).seconds("image") is None
