# SPDX-License-Identifier: GPL-2.0-only
"""What compilers and linkers say during a kernel build, read: warnings and errors.  Pure.

An incremental build repeats only the warnings of what it compiles again.  :class:`WarningLedger`
remembers the others, so that two positions built one after the other in one object tree can be
compared.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildWarning:
    """One compiler, linker, modpost or objtool warning.

    :param file: relative to the tree where the tool said so, else as printed.
    :param option: the ``-W`` option behind it, or empty.
    """

    file: str
    line: int
    message: str
    option: str

    def __str__(self) -> str:
        """Return it as the compiler prints it."""
        where = f"{self.file}:{self.line}" if self.line else self.file
        return f"{where}: {self.message}" + (f" [{self.option}]" if self.option else "")


_TARGET = re.compile(r"^  (?:[A-Z][A-Z0-9_]*)(?: \[[A-Z]\])? +(?P<target>\S+)$")
"""kbuild's short form of a command (``scripts/Kbuild.include``)."""

_GCC = re.compile(
    r"^(?P<file>[^\s:][^:]*):(?P<line>\d+)(?::\d+)?: (?P<kind>warning|error|fatal error): "
    r"(?P<message>.*?)(?: \[(?P<option>-W[^\]]+)\])?$"
)
_OTHER = re.compile(
    r"^(?:(?P<file>[\w./-]+\.o|[\w./-]+): )?(?:ld: |.*modpost: )?(?P<kind>warning|WARNING): "
    r"(?P<message>.*)$"
)
_ERROR = re.compile(
    r"^(?:[^\s:][^:]*:\d+(?::\d+)?: (?:fatal )?error: .*|ERROR: modpost: .*|.*undefined reference.*"
    r"|ld: (?!warning).*|make.*\*\*\* No rule.*)$"
)


def parse_warnings(text: str, tree: Path | None = None) -> tuple[BuildWarning, ...]:
    """Return every warning in a build's output, each once.

    :param tree: taken off the front of file names.
    """
    # The object tree lies beside the tree: compilers are given ../src/file or the whole path.
    prefix = (
        re.compile(rf"^(?:{re.escape(str(tree))}|(?:\.\./)+{re.escape(tree.name)})/|^(?:\.\./)+")
        if tree is not None
        else re.compile(r"^(?:\.\./)+")
    )
    found: dict[tuple[str, int, str], BuildWarning] = {}
    for line in text.splitlines():
        match = _GCC.match(line) or _OTHER.match(line)
        if match is None or "error" in match.group("kind"):
            continue
        groups = match.groupdict()
        file = prefix.sub("", groups["file"] or "")
        warning = BuildWarning(
            file=file,
            line=int(groups.get("line") or 0),
            message=groups["message"],
            option=groups.get("option") or "",
        )
        found.setdefault((warning.file, warning.line, warning.message), warning)
    return tuple(found.values())


def new_warnings(
    before: Iterable[BuildWarning], after: Iterable[BuildWarning]
) -> tuple[BuildWarning, ...]:
    """Return the warnings that *after* has more of; lines may have moved."""
    known = Counter((w.file, w.message) for w in before)
    fresh = []
    for warning in after:
        identity = (warning.file, warning.message)
        if known[identity]:
            known[identity] -= 1
        else:
            fresh.append(warning)
    return tuple(fresh)


def first_error(text: str, tree: Path | None = None) -> str:
    """Return the first error in a build's output, else its last words.

    :param tree: the source tree; paths below it are given relative to it.
    """
    for line in text.splitlines():
        if _ERROR.match(line):
            line = line.removeprefix(f"{tree}/") if tree is not None else line
            return re.sub(r"^(?:\.\./)+", "", line)
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "make said nothing"


def warnings_by_target(text: str, tree: Path | None = None) -> dict[str, tuple[BuildWarning, ...]]:
    """Return everything that was made -> its warnings, most often none.

    make must keep the output of each target together (``--output-sync``).
    """
    found: dict[str, list[str]] = {}
    target = ""
    for line in text.splitlines():
        match = _TARGET.match(line)
        if match is not None:
            target = match["target"]
            found[target] = []
        else:
            found.setdefault(target, []).append(line)
    return {target: parse_warnings("\n".join(lines), tree) for target, lines in found.items()}


class WarningLedger:
    """The warnings of everything in an object tree, kept beside it.

    :param path: a JSON file; a missing or damaged one is an empty ledger.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def enter(self, text: str, tree: Path) -> tuple[BuildWarning, ...]:
        """Take in a build's output, and return all warnings of the object tree, each once.

        Entering the same output again changes nothing.
        """
        entries = self._read()
        for target, warnings in warnings_by_target(text, tree).items():
            entries.pop(target, None)
            if warnings:
                entries[target] = [asdict(warning) for warning in warnings]
        making = self._path.with_name(f"{self._path.name}.new")
        making.write_text(json.dumps(entries, indent=1))
        making.replace(self._path)
        every = (BuildWarning(**item) for items in entries.values() for item in items)
        return tuple(sorted(set(every), key=lambda w: (w.file, w.line, w.message)))

    def _read(self) -> dict[str, list[dict[str, Any]]]:
        try:
            entries: dict[str, list[dict[str, Any]]] = json.loads(self._path.read_text())
        except (OSError, ValueError):
            return {}
        return entries
