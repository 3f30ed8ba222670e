# SPDX-License-Identifier: GPL-2.0-only
"""Positions of a series as people write them: ``0..3,9``."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import pairwise

from harness.base.errors import SpecError


def parse_positions(
    text: str | None, last: int, usual: tuple[int, ...] | None = None
) -> tuple[int, ...]:
    """Read ``0..3,9,11``: positions in ascending order.

    :param usual: what ``None`` stands for; all of them when that is ``None`` too.
    :param last: the last position that there is.
    :raises SpecError: when it is nothing of the kind, or names a position that there is not.
    """
    if text is None and usual is not None:
        return usual
    found: set[int] = set()
    for word in (text if text is not None else f"0..{last}").split(","):
        match = re.fullmatch(r"\s*(\d+)(?:\s*\.\.\s*(\d+))?\s*", word, re.ASCII)
        if match is None:
            raise SpecError(f"{word!r} is no position", hint="such as 0..11 or 0,5,9..11")
        first = int(match.group(1))
        end = int(match.group(2)) if match.group(2) else first
        if first > end or end > last:
            raise SpecError(
                f"there are no positions {word.strip()}",
                hint=f"positions run from 0 (no patch) to {last} (all)",
            )
        found |= set(range(first, end + 1))
    return tuple(sorted(found))


def positions_text(positions: Iterable[int]) -> str:
    """Return positions as ``--positions`` takes them: ``0..3,9``."""
    ordered = sorted(set(positions))
    starts = ordered[:1] + [b for a, b in pairwise(ordered) if b != a + 1]
    ends = [a for a, b in pairwise(ordered) if b != a + 1] + ordered[-1:]
    return ",".join(str(a) if a == b else f"{a}..{b}" for a, b in zip(starts, ends, strict=True))
