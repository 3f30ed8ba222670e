# SPDX-License-Identifier: GPL-2.0-only
"""Words that every message, table and page says in the same way."""

from __future__ import annotations

LINE = 160
"""Characters of the first line of a message, where there is room for one line only."""


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
