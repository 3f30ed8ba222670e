# SPDX-License-Identifier: GPL-2.0-only
"""Lines of a kernel log, without what stands before them: level, time, caller.  Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

LONGEST = 1000
"""Characters of a line that are looked at: printk's records are shorter."""

_TIME = r"\[[\s+]{0,12}\d{1,10}\.\d{1,9}\]"
_PREFIX = re.compile(
    rf"(?:(?:<\d+>)?(?:{_TIME})?(?:\[\s{{0,12}}(?P<caller>[TC]\d+)[^\]\n]{{0,24}}\])?(?<=[>\]])\s?)?"
)
"""printk prefixes: level, time, caller (``kernel/printk/printk.c``)."""

_LOGGED = re.compile(
    r"(?:\s*(?:\d+\.\d{3}|template)  (?=\S|\s*\[))?"  # the harness's own log of a console
    r"(?:(?:[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d|\d{4}-\d\d-\d\dT\S{8,30})"  # syslog, the journal
    r" \S{1,80} kernel: ?)?"
    r"(?:\w{1,8} {0,4}: ?\w{1,8} {0,4}: (?=\[|<))?"  # dmesg --decode
    r"(?:\[[A-Z][a-z]{2} [A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d \d{4}\] ?)?"  # dmesg --ctime
)
_LATER = re.compile(rf"(?:<\d+>)?{_TIME}(?=[\s\[])")
"""A time in the middle of a line: what was printed before did not end it."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A line, or what begins in the middle of one.

    :param at: the line's number, from 0.
    :param body: without what stands before it.
    :param caller: the task or processor that printed it, empty where the kernel does not say.
    """

    at: int
    body: str
    caller: str


def strip_prefix(line: str) -> str:
    """Return a line of kernel log without level, time and caller."""
    return _PREFIX.sub("", line, count=1)


def pieces(lines: Iterable[str], longest: int = LONGEST) -> Iterator[Piece]:
    """Take lines apart where the kernel began to print.

    :param longest: characters of each that are wanted.
    """
    for at, line in enumerate(lines):
        begin = _LOGGED.match(line)
        rest = line[begin.end() :] if begin is not None else line
        later = _LATER.finditer(rest) if rest.find("[", 1) > 0 else ()
        starts = [match.start() for match in later if rest[: match.start()].strip()]
        for start, end in zip([0, *starts], [*starts, len(rest)], strict=True):
            part = rest[start:end]
            prefix = _PREFIX.match(part)
            length, caller = (prefix.end(), prefix["caller"]) if prefix is not None else (0, "")
            yield Piece(at, part[length:].rstrip()[:longest], caller or "")
