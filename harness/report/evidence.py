# SPDX-License-Identifier: GPL-2.0-only
"""What the report tells of a single mark: message, splats, console slice, commands."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.base.text import plural
from harness.report.columns import Column, Mark, detail_id, mark_of, visible
from harness.results.log_lines import strip_prefix
from harness.results.records import CellStatus
from harness.results.results import TestResult
from harness.results.splat_forms import form_of
from harness.results.splat_lines import TRACE

_BUDGET_BYTES = 3 << 18
"""What all the console slices of a page may take; the longest that fit are shown."""

_LINES = (60, 40, 25, 15, 8, 4)
_SPLAT_LINES = 60
_TRACE_LINES = 2000


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is told of a test in a column, or of a kernel that came to nothing.

    :param test: its id; empty when it is about the kernel.
    :param splats: decoded where it could be.
    :param console: the end of the console slice.
    :param log: where all of it is, below the results directory; empty without one.
    :param commands: what each does, and its command line.
    """

    id: str
    test: str
    mark: Mark
    message: str
    splats: str
    console: str
    log: str
    commands: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Chapter:
    """All evidence about a column.

    :param said: how much there is of what.
    """

    column: Column
    said: str
    items: tuple[Evidence, ...]


def chapters_of(columns: Sequence[Column]) -> tuple[Chapter, ...]:
    """Return the evidence about everything that did not simply pass."""
    told = [(column, test, mark) for column in columns for test, mark in _told(column)]
    logs = {id(test): _read(column.directory, test) for column, test, _ in told}
    lines = _lines_that_fit(logs.values())
    found = []
    for column in columns:
        items = [_kernel(column)] if column.status is not CellStatus.TESTED else []
        for own, test, mark in told:
            if own is column:
                items.append(_evidence(column, test, mark, logs[id(test)], lines))
        if items:
            found.append(Chapter(column, _said(items), tuple(items)))
    return tuple(found)


def _told(column: Column) -> Iterable[tuple[TestResult, Mark]]:
    for test in column.tests.values():
        mark = mark_of(test, column.judge)
        quiet = mark.kind == "either" and test.outcome.value == "passed"
        if (mark.kind in ("ok", "skip") or quiet) and not test.known_issues:
            continue
        yield test, mark


def _said(items: Sequence[Evidence]) -> str:
    counts: dict[str, int] = {}
    for item in items:
        counts[item.mark.kind] = counts.get(item.mark.kind, 0) + 1
    words = {
        "bad": "not as it should be",
        "error": "without a verdict",
        "stated": "as stated before a patch",
        "either": "races",
        "ok": "with known issues",
    }
    return ", ".join(f"{counts[kind]} {word}" for kind, word in words.items() if kind in counts)


def _kernel(column: Column) -> Evidence:
    log = next((n for n in ("build.log", "pytest.log") if (column.directory / n).exists()), "")
    return Evidence(
        id=detail_id(column.id, None),
        test="",
        mark=Mark("bad", "\u2717!", column.status),
        message=visible(column.message),
        splats="",
        console="\n".join(_tail(_text(column.directory / log), _LINES[0])) if log else "",
        log=f"{column.directory.name}/{log}" if log else "",
        commands=(("run it again", column.reproduce),),
    )


def _evidence(
    column: Column, test: TestResult, mark: Mark, logs: tuple[str, str], lines: int
) -> Evidence:
    console, splats = logs
    return Evidence(
        id=detail_id(column.id, test.id),
        test=test.id,
        mark=mark,
        message=visible(test.message),
        splats="\n".join(_with_traces(splats, _SPLAT_LINES))
        or visible("\n".join((*test.splats, *test.known_issues))),
        console="\n".join(_tail(console, lines)),
        log=f"{column.directory.name}/{test.console}" if test.console else "",
        commands=commands_of(column.run, test.id),
    )


def commands_of(run: str, test: str) -> tuple[tuple[str, str], ...]:
    """Return the command lines that go on from a test's result.

    :param run: the one that runs the kernel, without words for pytest.
    """
    words = shlex.split(run)
    if words[:2] != ["harness", "run"]:
        return (("run it again", run),)
    boot = [
        "harness",
        "boot",
        *(word for word in words[2:] if word not in ("--expected", "--strict")),
    ]
    look = ["harness", "bisect", "--test", test]
    for option, value in zip(boot[2:], [*boot[3:], ""], strict=True):
        if option.startswith("--") and option != "--position":
            look += [option] if value.startswith("--") or not value else [option, value]
    return (
        ("run it again", f"{run} -- {shlex.quote(test)}"),
        ("a shell in that kernel", shlex.join(boot)),
        ("which patch changes it", shlex.join(look)),
    )


# -- logs ----------------------------------------------------------------------------------


def _read(directory: Path, test: TestResult) -> tuple[str, str]:
    """Return what the kernel printed in a test, and its decoded splats."""
    if test.console is None:
        return "", ""
    path = directory / test.console
    if not path.resolve().is_relative_to(directory.resolve()):
        return "", ""
    return _text(path), _text(path.with_suffix(".splats"))


def _text(path: Path) -> str:
    try:
        return visible(path.read_text(encoding="utf-8", errors="replace").rstrip("\n"))
    except OSError:
        return ""


def _lines_that_fit(logs: Iterable[tuple[str, str]]) -> int:
    """Return how many lines of each console go into the page, so that it stays small."""
    consoles = [console.split("\n") for console, _ in logs]
    for lines in _LINES:
        size = sum(len(line) + 1 for console in consoles for line in console[-lines:])
        if size <= _BUDGET_BYTES:
            return lines
    return _LINES[-1]


def _tail(text: str, count: int) -> list[str]:
    lines = text.split("\n")
    left = len(lines) - count
    return [f"({plural(left, 'line')} before these)", *lines[left:]] if left > 0 else lines


def _with_traces(text: str, count: int) -> list[str]:
    """Return the first lines of splats, and of the others those of traces and where one begins."""
    lines = text.split("\n")
    kept, traces, left = lines[:count], 0, 0
    for line in lines[count:]:
        if traces < _TRACE_LINES and _is_trace(line):
            kept += [f"({plural(left, 'line')} left out)"] if left else []
            kept.append(line)
            traces, left = traces + 1, 0
        else:
            left += 1
    return [*kept, f"({plural(left, 'line')} left out)"] if left else kept


def _is_trace(line: str) -> bool:
    return TRACE.search(line) is not None or form_of(strip_prefix(line), whole=True) is not None
