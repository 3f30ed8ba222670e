# SPDX-License-Identifier: GPL-2.0-only
"""What has one cause, in words: the same in a terminal, a mail, Markdown and the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from harness.base.positions import positions_text
from harness.results.complaint import Problem


def where(problem: Problem) -> str:
    """Say at which positions it is, such as ``positions 6 to 11, default and debug``."""
    return places(problem.positions)


def places(by_profile: Mapping[str, Sequence[int]]) -> str:
    """Say which positions of which profiles these are, as :func:`where` does."""
    alike: dict[tuple[int, ...], list[str]] = {}
    for profile, positions in by_profile.items():
        alike.setdefault(tuple(positions), []).append(profile)
    return "; ".join(
        f"{_said(positions)}, {' and '.join(profiles)}" for positions, profiles in alike.items()
    )


def about(problem: Problem) -> str:
    """Say what it is about, such as ``test_x.py::test_y, 3 cases``."""
    cases = len(problem.cases)
    return problem.name + (f", {cases} cases" if cases > 1 else "")


def first_seen(problem: Problem, subjects: Mapping[int, str]) -> str:
    """Say with which patch it is first seen; empty when it is at one position only.

    :param subjects: position -> subject of its patch, as far as they are known.
    """
    positions = {item.position for item in problem.complaints}
    number = problem.first.position
    if len(positions) == 1:
        return ""
    if number == 0:
        return "first seen at the base"
    subject = subjects.get(number)
    return f"first seen at patch {number}" + (f": {subject}" if subject else "")


def _said(positions: Sequence[int]) -> str:
    said = positions_text(positions).replace("..", " to ").replace(",", ", ")
    return f"position{'' if said.isdecimal() else 's'} {said}"
