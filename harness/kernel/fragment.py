# SPDX-License-Identifier: GPL-2.0-only
"""Kernel configuration as text: what fragments ask for, and whether a ``.config`` has it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from harness.base.arch import Architecture
from harness.base.errors import KconfigError
from harness.base.spec import ProfileSpec

_SET = re.compile(r"CONFIG_(\w+)=(.+)")
_UNSET = re.compile(r"# CONFIG_(\w+) is not set")
_ASKED = re.compile(r"(CONFIG_\w+(?:\|CONFIG_\w+)*)=(.+?)(\s+# optional)?")
_DEFINED = re.compile(r"^\s*(?:menu)?config\s+(\w+)\s*$", re.M)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One line of a fragment.

    :param symbol: without the ``CONFIG_`` prefix.
    :param value: ``y``, ``m``, ``n``, a number, or a string in quotes.
    :param others: names that other kernels have for the symbol; the first that a tree has counts.
    :param optional: whether a tree may have none of them.
    """

    symbol: str
    value: str
    file: Path
    line: int
    others: tuple[str, ...] = ()
    optional: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """The symbol and its other names."""
        return (self.symbol, *self.others)

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

    ``CONFIG_X|CONFIG_Y=value`` asks for the first of the two that the tree has, and ``# optional``
    behind the value allows for trees that have no such symbol.

    :raises KconfigError: naming file and line, for any other line that is no comment.
    """
    try:
        lines = path.read_text().splitlines()
    except OSError as error:
        raise KconfigError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise KconfigError(f"cannot read {path}: {error}") from error
    requests = []
    for number, raw in enumerate(lines, 1):
        line = raw.strip()
        optional = False
        if (match := _ASKED.fullmatch(line)) is not None:
            names, value = match.group(1).split("|"), match.group(2)
            symbols = [name.removeprefix("CONFIG_") for name in names]
            optional = match.group(3) is not None
        elif (match := _UNSET.fullmatch(line)) is not None:
            symbols, value = [match.group(1)], "n"
        elif not line or line.startswith("#"):
            continue
        else:
            raise KconfigError(
                f"{path}:{number}: not a configuration line: {line!r}",
                hint="expected CONFIG_SYMBOL=value or '# CONFIG_SYMBOL is not set'",
            )
        symbol, *others = symbols
        requests.append(
            Request(
                symbol=symbol,
                value=value,
                file=path,
                line=number,
                others=tuple(others),
                optional=optional,
            )
        )
    return tuple(requests)


def requested(fragments: Iterable[Path], kconfigs: Iterable[Path]) -> tuple[Request, ...]:
    """Return what *fragments* ask of a tree together: the last word on each symbol counts.

    Symbols have the names that they have in the tree; those that are optional and that it does not
    have are left out.

    :param kconfigs: the tree's Kconfig files.
    """
    asked = [request for fragment in fragments for request in read_fragment(fragment)]
    loose = {name for request in asked if _is_loose(request) for name in request.names}
    known = _defined(kconfigs, loose)
    last: dict[str, Request] = {}
    for request in asked:
        here = request
        if _is_loose(request):
            names = [name for name in request.names if name in known]
            if not names and request.optional:
                continue
            here = replace(request, symbol=names[0] if names else request.symbol)
        last[here.symbol] = here
    return tuple(last.values())


def loose_requests(fragments: Iterable[Path]) -> tuple[Request, ...]:
    """Return the requests that have several names, or that a tree need not know."""
    return tuple(r for fragment in fragments for r in read_fragment(fragment) if _is_loose(r))


def _is_loose(request: Request) -> bool:
    return bool(request.others) or request.optional


def _defined(kconfigs: Iterable[Path], names: set[str]) -> set[str]:
    """Return those of *names* that Kconfig files define."""
    if not names:
        return set()
    found: set[str] = set()
    for path in kconfigs:
        found.update(_DEFINED.findall(path.read_text(errors="replace")))
    return found & names


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
