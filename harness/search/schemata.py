# SPDX-License-Identifier: GPL-2.0-only
"""All changes of :mod:`harness.search.mutate` in one kernel, one of them switched on at boot.

A kernel for each of hundreds of mutants would be built for hours.  Instead each changed function
is in one kernel as often as there are changes to it, and begins by asking which of them is wanted:
the kernel parameter ``harness_mutant=N``.  Without it the kernel behaves as it was written.
"""

from __future__ import annotations

import difflib
import itertools
import re
from collections.abc import Iterable, Mapping, Sequence

from harness.search.c_source import Edit, Function, mutated
from harness.search.mutate import Mutation

PARAMETER = "harness_mutant"
"""The kernel parameter, and the variable that holds its number."""

_HEADER = """\
From 0000000000000000000000000000000000000000 Mon Sep 17 00:00:00 2001
From: Harness Developers <harness@localhost>
Date: Thu, 1 Jan 1970 00:00:00 +0000
Subject: [PATCH] {subject}

---
"""

_ASKED = f"""
#include <linux/export.h>
#include <linux/moduleparam.h>

int {PARAMETER};
core_param({PARAMETER}, {PARAMETER}, int, 0444);
EXPORT_SYMBOL_GPL({PARAMETER});
"""

Sources = Mapping[str, bytes]
"""Path in the kernel tree -> the file's text."""


def all_in_one(mutations: Mapping[int, Mutation], sources: Sources) -> str:
    """Return a patch that puts all *mutations* into the kernel, each under its number."""
    texts = with_all(mutations, sources)
    return patch({name: sources[name] for name in texts}, texts, "mutants: all of them")


def with_all(mutations: Mapping[int, Mutation], sources: Sources) -> dict[str, bytes]:
    """Return the files with all *mutations* in them; the first file defines the parameter."""
    made: dict[str, bytes] = {}
    for name, numbers in _by_file(mutations).items():
        edits = []
        for function, those in _by_function(mutations, numbers):
            copies = [_copy(sources[name], function, number, mutations[number]) for number in those]
            edits += [
                Edit(start=function.start, end=function.start, text=b"".join(copies)),
                Edit(start=function.body, end=function.body, text=_dispatch(function, those)),
            ]
        asked = _ASKED if not made else f"\nextern int {PARAMETER};\n"
        at = _behind_includes(sources[name])
        edits.append(Edit(start=at, end=at, text=asked.encode()))
        made[name] = _edited(sources[name], edits)
    return made


def one(mutation: Mutation, sources: Sources) -> str:
    """Return a patch with one change, for people, and for ``--extra``."""
    before = sources[mutation.file]
    function = mutation.function
    after = (
        before[: function.start]
        + mutated(before, function, mutation.edits)
        + before[function.end :]
    )
    subject = f"mutant: {mutation.what}"
    return patch({mutation.file: before}, {mutation.file: after}, " ".join(subject.split()))


def patch(before: Sources, after: Sources, subject: str) -> str:
    """Return the difference of files as a mail that ``git am`` takes."""
    parts = [_HEADER.format(subject=subject)]
    for name, text in after.items():
        lines = difflib.unified_diff(
            before[name].decode().splitlines(keepends=True),
            text.decode().splitlines(keepends=True),
            f"a/{name}",
            f"b/{name}",
        )
        parts += [f"diff --git a/{name} b/{name}\n", *lines]
    return "".join(parts)


def at_fault(log: str, mutations: Mapping[int, Mutation], sources: Sources) -> dict[int, str]:
    """Return the numbers of *mutations* that do not compile, with the compiler's words.

    :param log: of a build of :func:`all_in_one` of them.
    """
    places = {name: _places(text) for name, text in with_all(mutations, sources).items()}
    found: dict[int, str] = {}
    for line in log.splitlines():
        match = re.match(
            r"(?:\.\./)*(?P<file>\S+?):(?P<line>\d+):\d+: (?:fatal )?error: (.*)", line
        )
        if match is None:
            continue
        for name, spans in places.items():
            if match["file"].endswith(name):
                for number, span in spans.items():
                    if int(match["line"]) in span:
                        found.setdefault(number, match[3])
    return found


def _places(text: bytes) -> dict[int, range]:
    """Return the lines of each copy in a file of :func:`with_all`."""
    begins = {
        int(match[1]): text.count(b"\n", 0, match.start()) + 1
        for match in re.finditer(rb"^/\* mutant (\d+) \*/$", text, re.M)
    }
    ends = [text.count(b"\n", 0, m.start()) + 1 for m in re.finditer(rb"^/\* end \*/$", text, re.M)]
    return {
        number: range(line, min(end for end in ends if end > line))
        for number, line in begins.items()
    }


def _by_file(mutations: Mapping[int, Mutation]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for number, mutation in mutations.items():
        found.setdefault(mutation.file, []).append(number)
    return found


def _by_function(
    mutations: Mapping[int, Mutation], numbers: Iterable[int]
) -> list[tuple[Function, list[int]]]:
    ordered = sorted(numbers, key=lambda number: (mutations[number].function.start, number))
    groups = itertools.groupby(ordered, key=lambda number: mutations[number].function)
    return [(function, list(those)) for function, those in groups]


def _copy(text: bytes, function: Function, number: int, mutation: Mutation) -> bytes:
    end = function.at + len(function.name)
    named = Edit(start=function.at, end=end, text=_name(function, number).encode())
    body = mutated(text, function, (named, *mutation.edits))
    static = b"" if body.startswith(b"static ") else b"static "
    return b"/* mutant %d */\n%s%s\n/* end */\n\n" % (number, static, body)


def _dispatch(function: Function, numbers: Sequence[int]) -> bytes:
    """Return the statement that goes to the copy that is wanted."""
    lines = [f"\n\tswitch ({PARAMETER}) {{"]
    for number in numbers:
        call = f"{_name(function, number)}({', '.join(function.parameters)})"
        if function.is_void:
            lines.append(f"\tcase {number}: {call}; return;")
        else:
            lines.append(f"\tcase {number}: return {call};")
    return "\n".join([*lines, "\t}\n"]).encode()


def _name(function: Function, number: int) -> str:
    return f"{function.name}__m{number}"


def _behind_includes(text: bytes) -> int:
    found = list(re.finditer(rb'^#\s*include\s*[<"].*\n', text, re.M))
    return found[-1].end() if found else 0


def _edited(text: bytes, edits: Iterable[Edit]) -> bytes:
    parts, at = [], 0
    for edit in sorted(edits, key=lambda edit: edit.start):
        parts += [text[at : edit.start], edit.text]
        at = edit.end
    return b"".join([*parts, text[at:]])
