# SPDX-License-Identifier: GPL-2.0-only
"""What the subject of a mail says of the patch in it: its number, its re-roll, its own words.

Lists and people write it in many ways: ``[PATCH v2 1/3]``, ``[PATCHv2 1/3]``, ``[RFC 1/3]``,
``[net-next,v2,1/3]``, ``[RESEND][PATCH][v2]``, ``[some-list] [PATCH 1 of 3]``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple

_GROUP = re.compile(r"\s*\[((?:[^\[\]]|\[[^\[\]]*\])*)\]\s*")
_REPLY = re.compile(r"\s*(?:re|aw|antw|sv|wg|fwd?)(?:\[\d+\])?\s*:", re.I)
_WORD = re.compile(r"(?<![a-z])(?:patch|rfc|rft|resend|repost)(?![a-z]{2})", re.I)
_RESENT = re.compile(r"(?<![a-z])(?:resend|resent|repost)(?![a-z])", re.I)
_NUMBERS = re.compile(r"(?<![\w./])(\d{1,4})(?:\s*/\s*|\s+of\s+)(\d{1,4}|[nx?]?)(?![\w./?])", re.I)
_NUMBER = re.compile(r"patch\s+(\d{1,3})(?![\w./-])", re.I)
_VERSION = re.compile(
    r"(?:(?<![a-z0-9])|(?<=patch)|(?<=rfc)|(?<=resend))v(\d{1,3})(?:\.(\d{1,3}))?(?![\w.])", re.I
)
_ATTEMPT = re.compile(r"(?<![a-z])(?:take|try|rev|ver|version)[ #.-]*(\d{1,3})(?![\w.])", re.I)
_TREES = re.compile(r"4\.(?:4|9|14|19)|5\.(?:4|10|15)|6\.(?:1|6|12|18)|7\.\d+")
"""Versions of Linux that patches are made for, which ``[PATCH v6.1 1/2]`` says as well."""


class Version(NamedTuple):
    """A re-roll: ``v2`` is (2, 0), ``v2.1`` is (2, 1)."""

    major: int = 1
    minor: int = 0

    def __str__(self) -> str:
        """Return it as mails have it."""
        return f"v{self.major}.{self.minor}" if self.minor else f"v{self.major}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SubjectLine:
    """A subject, read.

    :param text: without what stands in brackets before it.
    :param number: of the patch; 0 is the cover letter, 1 when it has none.
    :param total: patches of the series; 0 when it does not say.
    :param numbered: whether it has a number.
    :param tagged: whether it says that it is a patch.
    :param resent: whether it says that it was sent before.
    :param reply: whether it is a reply, or was forwarded.
    """

    text: str
    number: int
    total: int
    numbered: bool
    version: Version
    tagged: bool
    resent: bool
    reply: bool


def read_subject(subject: str) -> SubjectLine:
    """Read a subject, its encoding undone."""
    line = re.sub(r"\s+", " ", subject).strip()
    own = _without_replies(line)
    reply = own != line
    tags, text = _split(own)
    number, total = _numbers(tags)
    return SubjectLine(
        text=text,
        number=1 if number is None else number,
        total=total,
        numbered=number is not None,
        version=_version(tags),
        tagged=bool(tags),
        resent=_RESENT.search(tags) is not None,
        reply=reply,
    )


def _without_replies(line: str) -> str:
    """Return a subject from behind its last ``Re:``; a list's name may stand before that."""
    at = 0
    while True:
        if (match := _REPLY.match(line, at)) is not None:
            line, at = line[match.end() :].lstrip(), 0
        elif (match := _GROUP.match(line, at)) is not None and not _is_tag(match.group(1)):
            at = match.end()
        else:
            return line


def _split(line: str) -> tuple[str, str]:
    """Return what stands in the brackets up to the last ones about the patch, and the rest."""
    groups: list[str] = []
    at, tags, text = 0, "", line
    while (match := _GROUP.match(line, at)) is not None:
        groups.append(match.group(1))
        at = match.end()
        if _is_tag(match.group(1)):
            tags, text = " ".join(groups), line[at:]
    return tags, text


def _is_tag(group: str) -> bool:
    return any(pattern.search(group) for pattern in (_WORD, _NUMBERS)) or (
        _VERSION.fullmatch(group.strip()) is not None
    )


def _numbers(tags: str) -> tuple[int | None, int]:
    match = _NUMBERS.search(tags)
    if match is not None:
        total = match.group(2)
        return int(match.group(1)), int(total) if total.isdecimal() else 0
    match = _NUMBER.search(tags)
    return (int(match.group(1)), 0) if match is not None else (None, 0)


def _version(tags: str) -> Version:
    found = [
        Version(int(match.group(1)), int(match.group(2) or 0))
        for match in _VERSION.finditer(tags)
        if _TREES.fullmatch(match.group(0)[1:]) is None
    ]
    found += [Version(int(match.group(1))) for match in _ATTEMPT.finditer(tags)]
    return max(found, default=Version())
