# SPDX-License-Identifier: GPL-2.0-only
"""What is to be said of a nightly: as a mail to its readers, and for machines."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path

from harness.base.text import duration, first_line, plural
from harness.report.problems import about, first_seen, where
from harness.results.complaint import problems_of
from harness.results.records import CellStatus, NightlyRecord, PartRecord
from harness.results.results import Outcome
from harness.search.matrix import subjects_of
from harness.search.nightly import Part

WIDTH = 78
"""Columns of the summary: it is sent by mail."""


def record_of(parts: Sequence[Part], *, seconds: float, date: str) -> NightlyRecord:
    """Return what is written of a nightly."""
    return NightlyRecord(
        date=date, seconds=round(seconds, 1), parts=tuple(map(_part_record, parts))
    )


def _part_record(part: Part) -> PartRecord:
    found = part.complaints
    verdicts = sum(item.verdict for item in found) + (bool(part.trouble) and part.bad_input)
    return PartRecord(
        name=part.name,
        directory=part.directory.name,
        code=int(part.code),
        planned=part.planned,
        tested=sum(result.status is CellStatus.TESTED for result in part.results),
        passed=sum(t.outcome is Outcome.PASSED for r in part.results for t in r.tests),
        kernel=int(verdicts),
        runner=len(found) + bool(part.trouble) - int(verdicts),
        lines=tuple(line.strip() for line in _part_lines(part))[1:],
        report=(part.directory / "matrix.json").exists(),
    )


def summary(parts: Sequence[Part], *, seconds: float, directory: Path, date: str) -> str:
    """Return what a maintainer reads over coffee, at most :data:`WIDTH` columns wide."""
    cells = [result for part in parts for result in part.results]
    tests = sum(len(result.tests) for result in cells)
    wrong = sum(len(part.complaints) + bool(part.trouble) for part in parts)
    unreached = sum(len(part.unreached) for part in parts)
    head = f"nightly of {date}: " + (
        f"{plural(wrong, 'thing')} to look at" if wrong else "all as it should be"
    )
    facts = f"{len(cells)} cells, {tests} tests, {sum(r.cached for r in cells)} cells cached"
    lines = [head, "=" * len(head), "", f"{facts}, {duration(seconds)}", ""]
    for part in parts:
        lines += [*_part_lines(part), ""]
    if unreached:
        lines += [f"Not reached in time: {unreached} cells, named above.", ""]
    lines.append(f"reports: {directory}")
    return "\n".join(lines) + "\n"


def _part_lines(part: Part) -> Iterator[str]:
    found = part.complaints
    kernel = [item for item in found if item.verdict and item.test is None]
    tests = [item for item in found if item.verdict and item.test is not None]
    host = [item for item in found if not item.verdict]
    subjects = subjects_of(part.applied) if part.applied is not None else {}
    passed = sum(test.outcome is Outcome.PASSED for r in part.results for test in r.tests)
    state = "as it should be" if not found and not part.trouble else "to look at"
    yield f"{part.name}: {state}"
    if part.results:
        done = sum(result.status is CellStatus.TESTED for result in part.results)
        yield f"  {done} of {part.planned} cells tested, {passed} tests passed"
    if part.already:
        numbers = ", ".join(map(str, part.already))
        yield from _wrapped(f"in the tree already: patches {numbers}", "  ")
    if part.trouble:
        what = "what was asked for cannot be done" if part.bad_input else "trouble of the runner"
        yield from _wrapped(f"{what}: {part.trouble}", "  ")
    for title, items in (
        ("the kernel", kernel),
        ("tests", tests),
        ("without a verdict: trouble of the runner", host),
    ):
        if not items:
            continue
        yield f"  {title}:"
        for problem in problems_of(items):
            item = problem.first
            test = f"{about(problem)}: " if item.test else ""
            text = f"{where(problem)}: {test}{item.outcome}, stated: {item.expected}"
            yield from _wrapped(text, "    ")
            for more in (first_seen(problem, subjects), first_line(item.message)):
                yield from _wrapped(more, "      ")
    if part.unreached:
        names = [f"p{c.target.position:02} {c.target.kind}" for c in part.unreached]
        yield from _wrapped(f"not reached: {', '.join(names)}", "  ")


def _wrapped(text: str, indent: str) -> list[str]:
    return textwrap.wrap(
        text, WIDTH, initial_indent=indent, subsequent_indent=f"{indent}  ", break_on_hyphens=False
    )
