# SPDX-License-Identifier: GPL-2.0-only
"""KTAP, what the kernel's own tests print, read (``Documentation/dev-tools/ktap.rst``).  Pure.

It comes from files and from consoles: behind time stamps, indented, with other messages in
between.  The reader is never more content than the kernel's own, ``kunit_parser.py`` of
``tools/testing/kunit``; where it means to differ is listed in ``tests/project/test_ktap.py``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from harness.base.text import plain
from harness.results.log_lines import pieces

_VERSION = re.compile(r"(?P<before>.*?)K?TAP version (?P<number>\d+)\s*$")
_FIRST = re.compile(r"(?:(?P<before>.*?)K?TAP version \d+|(?P<indent>\s*)1\.\.\d+)\s*$")
_SUBTEST = re.compile(r"# Subtest: (?P<name>.*)")
_PLAN = re.compile(r"1\.\.(?P<count>\d{1,9})(?:\s*#\s*(?P<why>.*)|\s*)$")
_BAIL = re.compile(r"(?:# ?)?Bail out!", re.I)
_RESULT = re.compile(r"(?P<not>not )?ok(?:\s+(?P<number>\d{1,9}))?(?:\s+(?P<rest>.*))?$")
_DIRECTIVE = re.compile(
    r"(?:^|(?<!\\)\s)#\s*(?P<word>SKIP\w*|TODO|XFAIL|XPASS|TIMEOUT|ERROR)\b:?\s*(?P<why>.*)$", re.I
)
_VERSIONS = frozenset((1, 13, 14))
_MOST_NOTES = 60
_LONGEST = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class KtapResult:
    """One result line of KTAP output.

    :param name: empty where the line has none.
    :param outcome: ``passed``, ``failed``, ``skipped`` or ``error``.
    :param detail: the lines before it that are no results, or what is wrong with the output.
    """

    name: str
    outcome: str
    detail: str = ""

    @property
    def ok(self) -> bool:
        """Whether this is no failure: passed or skipped."""
        return self.outcome in ("passed", "skipped")


@dataclass(slots=True)
class _Block:
    """A plan and its results: the outermost, or those below one test.

    :param indent: columns before them.
    :param headed: whether a line said that it begins.
    :param numbers: what its results are numbered, ``None`` for one without.
    :param loose: the numbers of results that are indented more, with no header in between.
    """

    indent: int
    headed: bool
    name: str = ""
    plan: int | None = None
    plans: int = 0
    numbers: list[int | None] = field(default_factory=list)
    loose: list[int | None] = field(default_factory=list)


def parse_ktap(text: str) -> tuple[KtapResult, ...]:
    """Read KTAP: every result, those of nested tests before the test that they belong to.

    A plan that is missing, of no tests, or not met, results in another order than their numbers
    say, a test without a result, and a bail-out are results ``error`` of their own.
    """
    reader = _Reader()
    for line in _lines(text):
        reader.read(line)
    return reader.end()


def _lines(text: str) -> Iterator[str]:
    """Yield lines without what a console puts before them."""
    before: str | None = None
    for piece in pieces((plain(line) for line in text.splitlines()), _LONGEST):
        line = piece.body.expandtabs(8)
        if before is None and (first := _FIRST.match(line)) is not None:
            before = first["before"] or first["indent"] or ""
        yield line[len(before) :] if before and line.startswith(before) else line


class _Reader:
    """What was read so far: the results, and the blocks that are open, the outermost first."""

    def __init__(self) -> None:
        self._found: list[KtapResult] = []
        self._open = [_Block(0, headed=False)]
        self._notes: list[str] = []

    def read(self, line: str) -> None:
        """Read a line."""
        said = line.lstrip()
        indent = len(line) - len(said)
        if (version := _VERSION.match(said)) is not None and not version["before"]:
            self._head(indent, "")
            if int(version["number"]) not in _VERSIONS:
                self._error("version", said)
        elif (subtest := _SUBTEST.match(said)) is not None and indent:
            self._head(indent, subtest["name"])
        elif (plan := _PLAN.match(said)) is not None:
            self._plan(indent, int(plan["count"]), plan["why"] or "")
        elif _BAIL.match(said) is not None:
            self._error("bail-out", said)
        elif (result := _RESULT.match(said)) is not None and _is_result(result):
            self._result(indent, result)
        elif said:
            self._notes.append(said)
            del self._notes[:-_MOST_NOTES]

    def end(self) -> tuple[KtapResult, ...]:
        """Return all results, when all is read."""
        self._close_above(0)
        self._finish(self._open[0])
        return tuple(self._found)

    def _error(self, name: str, detail: str) -> None:
        self._found.append(KtapResult(name=name, outcome="error", detail=detail))

    def _head(self, indent: int, name: str) -> None:
        """Begin a block: a line says so."""
        if indent == 0:
            self._close_above(0)
            if self._open[0].plans or self._open[0].numbers:
                # Another test program, or another module with tests.
                self._finish(self._open[0])
                self._open = [_Block(0, headed=True)]
            return
        self._close_above(indent)
        block = self._open[-1]
        if block.indent != indent:
            self._open.append(_Block(indent, headed=True, name=name))
        elif block.plans or block.numbers or block.name:
            self._close(None)
            self._open.append(_Block(indent, headed=True, name=name))
        else:
            block.name, block.headed = name, True

    def _plan(self, indent: int, count: int, why: str) -> None:
        self._close_above(indent)
        block = self._open[-1]
        if block.indent != indent:
            block = _Block(indent, headed=True)
            self._open.append(block)
        block.plans += 1
        if block.plans == 1:
            block.plan = count
        if count == 0:
            self._error(_plan_of(block.name), f"it plans no test: {why}" if why else "1..0")

    def _result(self, indent: int, match: re.Match[str]) -> None:
        name, outcome, why = _judge(match)
        # A name behind the directive does not end the tests below a header that has it.
        ends = name if not re.match(r"(?:-\s*)?#", match["rest"] or "") else ""
        self._close_above(indent, ends)
        block = self._open[-1]
        if block.indent != indent:
            block = _Block(indent, headed=False)
            self._open.append(block)
        block.numbers.append(int(match["number"]) if match["number"] else None)
        detail = "\n".join([*self._notes, why]).strip()
        self._found.append(KtapResult(name=name, outcome=outcome, detail=detail))
        self._notes.clear()

    def _close_above(self, indent: int, name: str | None = None) -> None:
        """End the blocks that are indented more.

        :param name: the test that they belong to; ``None`` where no result of it came.
        """
        while self._open[-1].indent > indent:
            parent = self._open[-2].indent <= indent
            self._close(name if parent else None)

    def _close(self, name: str | None) -> None:
        block = self._open.pop()
        if not block.headed:
            self._open[-1].loose = block.numbers
        elif name is None or (block.name and name != block.name):
            self._error(block.name or _plan_of(""), "the result of this test is missing")
        if block.headed and not block.numbers:
            block.numbers = block.loose
        if not block.name:
            block.name = name or ""
        if block.headed or block.plans:
            self._finish(block, nested=True)

    def _finish(self, block: _Block, *, nested: bool = False) -> None:
        """Hold the results of a block against its plan."""
        name, count = _plan_of(block.name if nested else ""), len(block.numbers)
        wrong = [
            (number, due)
            for due, number in enumerate(block.numbers, 1)
            if number is not None and number != due
        ]
        if block.plan is None and not nested:
            self._error(name, "there is no plan line")
        elif block.plans > 1:
            self._error(name, f"there are {block.plans} plan lines")
        elif block.plan is not None and block.plan != count:
            self._error(name, f"{block.plan} planned, {count} reported")
        elif block.plan is None and count == 0:
            self._error(name, "there is no test")
        if None in block.numbers:
            self._error(name, "a result has no number")
        if wrong:
            self._error(name, f"test number {wrong[0][0]} where {wrong[0][1]} was due")


def _plan_of(name: str) -> str:
    return f"plan of {name}" if name else "plan"


def _is_result(match: re.Match[str]) -> bool:
    """Return whether it is a result, and not a message that begins with ``ok``."""
    rest = match["rest"] or ""
    return bool(match["number"] or match["not"] or not rest or rest.startswith(("-", "#")))


def _judge(match: re.Match[str]) -> tuple[str, str, str]:
    """Return name, outcome, and why it is that."""
    rest = match["rest"] or ""
    directive = _DIRECTIVE.search(rest)
    word = directive["word"] if directive is not None else ""
    why = directive["why"].strip() if directive is not None else ""
    name = (rest[: directive.start()] if directive is not None else rest).strip()
    name = re.sub(r"^-(?:\s+|$)", "", name)
    if directive is None and (comment := re.search(r"(?:^|\s)#\s+", name)) is not None:
        name, why = name[: comment.start()].strip(), name[comment.end() :].strip()
    if not name:
        # kselftest.h: ksft_test_result_skip() and _xfail() print the name behind the word.
        name, why = why, ""
    failed = match["not"] is not None
    if word.upper().startswith("SKIP") and (not failed or word == "SKIP"):
        outcome = "skipped"
    elif failed or word.upper() in ("TIMEOUT", "ERROR"):
        outcome = "failed"
    else:
        outcome = "passed"
    return name, outcome, why
