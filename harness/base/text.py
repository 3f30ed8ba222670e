# SPDX-License-Identifier: GPL-2.0-only
"""Words that every message, table and page says in the same way."""

from __future__ import annotations

import os
import re
from pathlib import Path

LINE = 160
"""Characters of the first line of a message, where there is room for one line only."""


def path_of(text: str) -> Path:
    """Return the path that somebody wrote: ``~`` is a home, where there is such a user."""
    return Path(os.path.expanduser(text))  # noqa: PTH111 - that of Path refuses other users


def duration(seconds: float) -> str:
    """Return a time as people say it: ``2.5 s``, ``43 s``, ``2 min 05 s``, ``1 h 02 min``."""
    if seconds < 9.95:
        return f"{seconds:.1f} s".replace(".0 ", " ")
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02} min"


def first_line(text: str, width: int | None = LINE) -> str:
    """Return the first line of a message that is not blank, empty when there is none.

    :param width: characters that it may have, ``None`` for any number of them.
    """
    line = text.strip().partition("\n")[0].rstrip()
    return line if width is None or len(line) <= width else f"{line[: width - 3]}..."


def plural(number: int, word: str) -> str:
    """Return a number and its noun."""
    return f"{number} {word}{'' if number == 1 else 's'}"


_ESCAPE = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]{0,64}[ -/]{0,8}[@-~]"  # CSI: colours, movements
    # OSC, DCS and their like, as long as they are ended: titles, clipboards
    r"|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\n\x07\x1b\x9c]{0,1000}(?:\x07|\x1b\\|\x9c)"
    r"|\x1b[ -/]{0,8}[0-~]"
)
"""Sequences of ECMA-48 that tell a terminal to do something."""

_CONTROL = dict.fromkeys([*range(9), *range(0x0B, 0x20), *range(0x7F, 0xA0)])
_TURNING = dict.fromkeys([0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)])


def plain(text: str) -> str:
    """Return a text without what moves a terminal, or turns text around in one.

    Escape sequences go as a whole, other control characters except tabs and line ends one by one.
    What a machine printed goes through it before a terminal gets it.
    """
    if text.isprintable():
        return text
    return _ESCAPE.sub("", text).translate(_CONTROL | _TURNING)
