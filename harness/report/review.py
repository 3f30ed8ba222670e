# SPDX-License-Identifier: GPL-2.0-only
"""Checks of a patch or a series drawn as ``b4 review`` reads them: a JSON array of results."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from harness.results.complaint import Complaint
from harness.search.review import Check

_MESSAGE_LINES = 20


def to_json(checks: Sequence[Check], directory: Path) -> list[dict[str, str]]:
    """Return what b4 shows: a tool is a column, details are several lines.

    :param directory: where results and logs are.
    """
    return [
        {
            "tool": f"harness {check.tool}",
            "status": check.status.value,
            "summary": check.summary,
            "url": directory.as_uri(),
            "details": "\n".join([*_lines(check.complaints), *check.lines]),
        }
        for check in checks
    ]


def _lines(found: Sequence[Complaint]) -> Iterator[str]:
    """Yield what happened where, and how to see it again."""
    for item in found:
        what = item.outcome
        if item.test is not None:
            what = f"{item.test}: {item.outcome}, stated: {item.expected}"
        yield f"position {item.position}, {item.profile}: {what}"
        yield from (f"    {line}" for line in item.message.splitlines()[:_MESSAGE_LINES])
        if item.log is not None:
            yield f"    log: {item.log}"
        yield f"    run: {item.reproduce}"
