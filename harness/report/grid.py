# SPDX-License-Identifier: GPL-2.0-only
"""Tests and positions as a picture: tests that behave alike go together, flips stand out."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.base.text import plural
from harness.report.columns import Column, Mark, detail_id, mark_of
from harness.report.problems import places
from harness.results.records import CellStatus, Transition
from harness.results.results import Outcome, TestResult

_NONE = Mark("none", "", "was not run")
_ODD = ("bad", "error")
_ORDER = (*_ODD, "stated", "either", "ok", "skip", "none")
_NEVER = 1 << 16
_NAMED = 3
_SAYING = {
    "ok": "pass everywhere",
    "stated": "fail everywhere, as stated",
    "skip": "do not apply anywhere",
    "either": "races: both outcomes are stated",
    "none": "were not run",
}


@dataclass(frozen=True, slots=True)
class Row:
    """A test with a mark for each column.

    :param console: its console slice, relative to each column's directory, or ``None``.
    """

    test: str
    marks: tuple[Mark, ...]
    console: str | None
    seconds: float

    @property
    def file(self) -> str:
        """The file that the test is in."""
        return self.test.partition("::")[0]

    @property
    def name(self) -> str:
        """The test without its file."""
        return self.test.partition("::")[2] or self.test

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of its marks: tests with the same ones behave alike."""
        return tuple(mark.kind for mark in self.marks)

    @property
    def odd(self) -> bool:
        """Whether a mark is not as it should be, or without a verdict."""
        return any(kind in _ODD for kind in self.kinds)

    @property
    def flips(self) -> bool:
        """Whether it does not do the same everywhere."""
        return any(mark.flips for mark in self.marks)


@dataclass(frozen=True, slots=True)
class Group:
    """Rows that are shown under one heading.

    :param marks: what all of them have; those of the worst when they differ.
    :param open: whether the rows are shown from the beginning.
    """

    id: str
    heading: str
    count: str
    marks: tuple[Mark, ...]
    rows: tuple[Row, ...]
    open: bool


def rows_of(columns: Sequence[Column]) -> tuple[Row, ...]:
    """Return a row for each test, file by file."""
    found: dict[str, list[str]] = {}
    tests = [column.tests for column in columns]
    for test in dict.fromkeys(test for own in tests for test in own):
        found.setdefault(test.partition("::")[0], []).append(test)
    return tuple(_row(test, columns, tests) for _, own in sorted(found.items()) for test in own)


def _row(test: str, columns: Sequence[Column], tests: Sequence[Mapping[str, TestResult]]) -> Row:
    marks: list[Mark] = []
    last: tuple[str, Outcome] | None = None
    consoles, seconds = None, 0.0
    for column, own in zip(columns, tests, strict=True):
        found = own.get(test)
        if found is None:
            marks.append(_NONE)
            continue
        mark = mark_of(found, column.judge)
        consoles = found.console or consoles
        seconds = max(seconds, found.seconds)
        lucky = found.expected == "either" and found.outcome is Outcome.PASSED
        flips = False
        if found.outcome is not Outcome.ERROR and not lucky:
            flips = last is not None and last[0] == column.profile and last[1] != found.outcome
            last = (column.profile, found.outcome)
        told = mark.kind in ("stated", *_ODD) or bool(found.known_issues)
        told = told or (mark.kind == "either" and found.outcome is not Outcome.PASSED)
        link = detail_id(column.id, test) if told else None
        marks.append(dataclasses.replace(mark, link=link, flips=flips))
    return Row(test, tuple(marks), consoles, seconds)


# -- groups --------------------------------------------------------------------------------


def groups_of(rows: Sequence[Row], columns: Sequence[Column]) -> tuple[Group, ...]:
    """Return the rows in groups: by behaviour with several columns, by file with one."""
    if len(columns) > 1:
        return tuple(_behaviours(rows, columns))
    files: dict[str, list[Row]] = {}
    for row in rows:
        files.setdefault(row.file, []).append(row)
    return tuple(
        _group(number, file, own) for number, (file, own) in enumerate(sorted(files.items()))
    )


def _group(number: int, heading: str, rows: Sequence[Row]) -> Group:
    marks = tuple(
        dataclasses.replace(
            min((row.marks[n] for row in rows), key=lambda mark: _ORDER.index(mark.kind)),
            link=None,
            flips=any(row.marks[n].flips for row in rows),
        )
        for n in range(len(rows[0].marks))
    )
    odd = any(row.odd for row in rows)
    count = plural(len(rows), "test")
    return Group(f"group-{number}", heading, count, marks, tuple(rows), odd)


def _behaviours(rows: Iterable[Row], columns: Sequence[Column]) -> Iterator[Group]:
    """Yield what is odd first, then what flips, early patches first, then what never does."""
    alike: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        alike.setdefault(row.kinds, []).append(row)

    def place(item: tuple[tuple[str, ...], list[Row]]) -> tuple[bool, list[int], int]:
        kinds, own = item
        last = _ORDER.index(kinds[-1])
        return not own[0].odd, _flips(own[0], columns) or [_NEVER], last

    for number, (_, own) in enumerate(sorted(alike.items(), key=place)):
        yield _group(number, _heading(own[0], columns), own)


def _flips(row: Row, columns: Sequence[Column]) -> list[int]:
    pairs = zip(row.marks, columns, strict=True)
    return sorted({column.position for mark, column in pairs if mark.flips})


def _heading(row: Row, columns: Sequence[Column]) -> str:
    """Say in a few words how a test behaves."""
    if row.odd:
        odd: dict[str, list[int]] = {}
        for column, mark in zip(columns, row.marks, strict=True):
            if mark.kind in _ODD:
                odd.setdefault(column.profile, []).append(column.position)
        return f"not as they should be: {places(odd)}"
    kinds = [kind for kind in row.kinds if kind not in ("none", "skip")]
    flips = _flips(row, columns)
    only = _only_profile(row, columns)
    if not flips:
        return _SAYING.get((kinds or list(row.kinds))[0], "do the same everywhere") + only
    end = next((mark.kind for mark in reversed(row.marks) if mark.kind not in ("none", "skip")), "")
    first = row.kinds[0] if row.kinds[0] != "none" else (kinds or ["skip"])[0]
    if len(flips) == 1 and end == "ok":
        word = {"skip": "begin with", "either": "may fail before"}.get(first, "fail before")
        return f"{word} patch {flips[0]}{only}"
    return f"change with patch {' and '.join(map(str, flips))}{only}"


def _only_profile(row: Row, columns: Sequence[Column]) -> str:
    ran = {
        column.profile
        for column, mark in zip(columns, row.marks, strict=True)
        if mark.kind not in ("none", "skip")
    }
    everywhere = {column.profile for column in columns}
    return f" ({', '.join(sorted(ran))} only)" if ran and ran != everywhere else ""


# -- what each patch changes -----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Change:
    """Tests that change together with a patch.

    :param tests: their ids, with the profiles when it is not in all.
    :param strips: what they do at each position, one strip for each way; with its profiles.
    """

    before: str
    after: str
    tests: tuple[tuple[str, str], ...]
    strips: tuple[tuple[str, tuple[Mark, ...]], ...]

    @property
    def names(self) -> str:
        """The first few of the tests, for who does not look at all of them."""
        plain = (test.rpartition("::")[2].partition("[")[0] for test, _ in self.tests)
        names = list(dict.fromkeys(plain))
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        return ", ".join(name.removeprefix("test_") for name in names[:_NAMED]) + more


def patches_of(
    columns: Sequence[Column], rows: Sequence[Row], transitions: Iterable[Transition]
) -> list[dict[str, Any]]:
    """Return each position's patch with what changes there, tests that behave alike together."""
    by_test = {row.test: row for row in rows}
    profiles = list(dict.fromkeys(column.profile for column in columns))
    steps: dict[int, dict[tuple[str, Outcome, Outcome], list[str]]] = {}
    for step in transitions:
        key = (step.test, step.before, step.after)
        steps.setdefault(step.to_position, {}).setdefault(key, []).append(step.profile)
    found = []
    for position in sorted({column.position for column in columns}):
        own = [column for column in columns if column.position == position]
        alike: dict[tuple[Any, ...], list[tuple[str, str]]] = {}
        for (test, before, after), where in sorted(steps.get(position, {}).items()):
            row = by_test.get(test)
            strips = _strips(row, columns, profiles) if row is not None else ()
            only = "" if len(where) == len(profiles) else ", ".join(where)
            # A crash and a failure before a patch are one change to who looks from afar.
            words = tuple(_WORDS[outcome] for outcome in (before, after))
            alike.setdefault((*words, strips), []).append((test, only))
        found.append(
            {
                "position": position,
                "subject": own[0].subject,
                "kinds": sorted({_column_kind(column) for column in own}),
                "warnings": sum(len(column.build.new_warnings or ()) for column in own),
                "count": sum(len(tests) for tests in alike.values()),
                "changes": [
                    Change(key[0], key[1], tuple(tests), key[2]) for key, tests in alike.items()
                ],
            }
        )
    return found


_WORDS = {
    Outcome.PASSED: "passes",
    Outcome.FAILED: "fails",
    Outcome.CRASHED: "fails",
    Outcome.SKIPPED: "does not apply",
    Outcome.ERROR: "no verdict",
}


def _strips(
    row: Row, columns: Sequence[Column], profiles: Sequence[str]
) -> tuple[tuple[str, tuple[Mark, ...]], ...]:
    """Return what a test does at each position, profiles that agree together."""
    found: dict[tuple[Mark, ...], list[str]] = {}
    for profile in profiles:
        pairs = zip(row.marks, columns, strict=True)
        marks = tuple(
            Mark(mark.kind, mark.symbol, mark.kind, None, mark.flips)
            for mark, column in pairs
            if column.profile == profile
        )
        if any(mark.kind not in ("skip", "none") for mark in marks):
            found.setdefault(marks, []).append(profile)
    several = len(found) > 1
    return tuple((", ".join(own) if several else "", marks) for marks, own in found.items())


def _column_kind(column: Column) -> str:
    return "ok" if column.status is CellStatus.TESTED else "bad"
