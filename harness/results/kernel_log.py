# SPDX-License-Identifier: GPL-2.0-only
"""What the kernel prints, read.  Pure, and never raises: what is read may be damaged.

A *splat* is what the kernel prints when it finds something wrong with itself.  What splats look
like is in :mod:`harness.results.splat_forms`; here they are told apart.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from harness.base.text import plain
from harness.results.log_lines import pieces
from harness.results.splat_reader import read_reports


@dataclass(frozen=True, slots=True, kw_only=True)
class Splat:
    """One complaint of the kernel about itself.

    :param kind: which detector spoke: ``oops``, ``warning``, ``kasan``, ``lockdep``, ...;
        ``unknown`` when its first line was lost.
    :param title: the line that says what it is without times, addresses, process ids and the like,
        so that the same splat has the same title in every run.
    :param text: all of it, as printed, but without what moves a terminal.
    :param line: number of its first line in the text that was searched, from 0.
    """

    kind: str
    title: str
    text: str
    line: int


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownIssue:
    """A splat of the base kernel that nobody can mend here; shown, never swallowed.

    :param title: regular expression for a splat's title.
    :param reason: why it is not the fault of what is tested.
    :param kernels: regular expression for the releases that have it.
    """

    title: str
    reason: str
    kernels: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LogVerdict:
    """Splats sorted by whether somebody expected them."""

    unexpected: tuple[Splat, ...]
    expected: tuple[Splat, ...]
    known: tuple[Splat, ...]


def find_splats(text: str) -> tuple[Splat, ...]:
    """Find every splat in console or ``dmesg`` text, each once, in order.

    Steps of one report (the oops after ``kernel BUG at``, the panic that an oops ends in) are one
    splat; every other line that begins a report begins a splat of its own.
    """
    lines = [plain(line) for line in text.splitlines()]
    return tuple(
        Splat(
            kind=report.kind,
            title=report.title,
            text="\n".join(lines[at] for at in sorted(set(report.lines))),
            line=min(report.lines),
        )
        for report in read_reports(tuple(pieces(lines)))
    )


def find_complaints(text: str, patterns: Iterable[str]) -> tuple[Splat, ...]:
    """Find the lines in which a suite's own modules say that the kernel did something wrong.

    :param patterns: regular expressions for them, from where their titles begin.
    """
    wanted = [re.compile(pattern) for pattern in patterns]
    found = []
    for number, line in enumerate(text.splitlines() if wanted else ()):
        said = plain(line)
        match = next(filter(None, (one.search(said) for one in wanted)), None)
        if match is not None:
            title = re.sub(r"0x[0-9a-f]+", "ADDR", match[0].rstrip())
            found.append(Splat(kind="complaint", title=title, text=said, line=number))
    return tuple(found)


# -- verdicts --------------------------------------------------------------------------------


def classify(
    splats: Iterable[Splat],
    known: Iterable[KnownIssue],
    expected: Iterable[str],
    *,
    release: str | None = None,
) -> LogVerdict:
    """Sort splats into unexpected, expected and known.

    :param expected: regular expressions for titles that a test counts on.
    :param release: the kernel that printed them; ``None`` lets every known issue apply.
    """
    issues = [issue for issue in known if release is None or re.search(issue.kernels, release)]
    wanted = [re.compile(text) for text in expected]
    groups: dict[str, list[Splat]] = {"unexpected": [], "expected": [], "known": []}
    for splat in splats:
        if any(pattern.search(splat.title) for pattern in wanted):
            groups["expected"].append(splat)
        elif any(re.search(issue.title, splat.title) for issue in issues):
            groups["known"].append(splat)
        else:
            groups["unexpected"].append(splat)
    return LogVerdict(**{name: tuple(items) for name, items in groups.items()})
