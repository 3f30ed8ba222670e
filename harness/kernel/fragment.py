# SPDX-License-Identifier: GPL-2.0-only
"""Kernel configuration as text: what fragments ask for, and whether a ``.config`` has it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from harness.base.arch import Architecture
from harness.base.errors import KconfigError
from harness.base.spec import ProfileSpec

_SET = re.compile(r"CONFIG_(\w+)=(.+)")
_UNSET = re.compile(r"# CONFIG_(\w+) is not set")


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One line of a fragment.

    :param symbol: without the ``CONFIG_`` prefix.
    :param value: ``y``, ``m``, ``n``, a number, or a string in quotes.
    """

    symbol: str
    value: str
    file: Path
    line: int

    @property
    def where(self) -> str:
        """``file:line``, for messages."""
        return f"{self.file.name}:{self.line}"


def fragments_of(profile: ProfileSpec, arch: Architecture) -> tuple[Path, ...]:
    """Return a profile's fragments with the architecture's own right after the first."""
    first, *rest = profile.fragments
    return (first, first.parent / arch.fragment, *rest)


def read_fragment(path: Path) -> tuple[Request, ...]:
    """Read ``CONFIG_X=value`` and ``# CONFIG_X is not set`` lines.

    :raises KconfigError: naming file and line, for any other line that is no comment.
    """
    try:
        lines = path.read_text().splitlines()
    except OSError as error:
        raise KconfigError(f"cannot read {path}: {error.strerror}") from error
    requests = []
    for number, raw in enumerate(lines, 1):
        line = raw.strip()
        if (match := _SET.fullmatch(line)) is not None:
            symbol, value = match.group(1), match.group(2).strip()
        elif (match := _UNSET.fullmatch(line)) is not None:
            symbol, value = match.group(1), "n"
        elif not line or line.startswith("#"):
            continue
        else:
            raise KconfigError(
                f"{path}:{number}: not a configuration line: {line!r}",
                hint="expected CONFIG_SYMBOL=value or '# CONFIG_SYMBOL is not set'",
            )
        requests.append(Request(symbol=symbol, value=value, file=path, line=number))
    return tuple(requests)


def requested(fragments: Iterable[Path]) -> tuple[Request, ...]:
    """Return what *fragments* ask for together: the last word on each symbol counts."""
    last: dict[str, Request] = {}
    for fragment in fragments:
        for request in read_fragment(fragment):
            last[request.symbol] = request
    return tuple(last.values())


def read_config(path: Path) -> dict[str, str]:
    """Return a ``.config`` as symbol -> value; a symbol that is not set is ``n``."""
    values = {}
    for line in path.read_text().splitlines():
        if (match := _SET.fullmatch(line)) is not None:
            values[match.group(1)] = match.group(2)
        elif (match := _UNSET.fullmatch(line)) is not None:
            values[match.group(1)] = "n"
    return values


def lost_requests(config: Path, requests: Iterable[Request]) -> tuple[Request, ...]:
    """Return the requests that *config* does not fulfil."""
    values = read_config(config)
    return tuple(r for r in requests if values.get(r.symbol, "n") != r.value)
