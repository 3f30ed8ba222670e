# SPDX-License-Identifier: GPL-2.0-only
"""A patch series: from an mbox, a maildir, a directory, a list's archive, or commits of a tree."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from pathlib import Path

from harness.base.errors import SeriesError
from harness.kernel.commits import read_commits
from harness.kernel.lore import fetch_thread, is_archived
from harness.kernel.mail import read_mail
from harness.kernel.mailbox import plain_name, read_mails, split_mails
from harness.kernel.reroll import NO_PATCH, Reroll, choose_reroll, patches_in
from harness.kernel.thread import LeftOut

log = logging.getLogger(__name__)

_BASE = re.compile(r"^base-commit:\s*([0-9a-f]{7,64})\s*$", re.M)


@dataclass(frozen=True, slots=True, kw_only=True)
class Patch:
    """One patch as mail.

    :param number: from 1; its place in the series.
    :param subject: without the ``[PATCH ...]`` prefix.
    :param mail: what ``git am`` is given.
    """

    number: int
    subject: str
    mail: bytes

    @property
    def name(self) -> str:
        """Number and subject, as messages name it."""
        return f'{self.number} "{self.subject}"'


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """Patches in order.

    :param name: short, for files and tables.
    :param title: the cover letter's subject, else the first patch's.
    :param version: the re-roll: 4 for ``[PATCH v4 ...]``.
    :param cover: the cover letter's text, ``None`` without one.
    :param base_commit: what the series says it was made on, or ``None``.
    :param origin: where it was read from.
    :param taken: which re-roll it is, and which of its parts are an older one's, for people.
    :param left_out: patches that were there as well.
    """

    name: str
    title: str
    version: int
    cover: str | None
    base_commit: str | None
    patches: tuple[Patch, ...]
    origin: str
    taken: str
    left_out: tuple[LeftOut, ...]


def read_series(location: str, *, repo: Path | None = None, whole: bool = True) -> Series:
    """Read a series from an mbox, a maildir, a directory of patches, a patch, or commits.

    Of several re-rolls the newest complete one is taken; the series says what was left out.
    Replies and other mail are ignored.

    :param location: a path, a range ``A..B``, a branch that ``b4 prep`` made, or the Message-ID or
        the address of a mail in a public archive, which ``b4`` fetches.
    :param repo: the git tree that the commits are of.
    :param whole: whether it has to be a whole series; else any patches will do, in their order.
    :raises SeriesError: when there is no patch, or a part is missing or there twice.
    """
    path = Path(location)
    if path.exists():
        mails = [read_mail(raw) for raw in read_mails(path)]
        name = plain_name(path.name)
    elif is_archived(location):
        mails = [read_mail(raw) for raw in fetch_thread(location)]
        name = location.strip("<>/").rpartition("/")[2]
    else:
        mails = [read_mail(raw) for raw in read_commits(location, repo)]
        name = location
    for mail in patches_in(mails):
        if mail.flowed:
            log.warning("%s is format=flowed: its white space may be damaged", mail.line.text)
    if not whole:
        patches = patches_in(mails)
        if not patches:
            raise SeriesError(f"{location} holds no patch", hint=NO_PATCH)
        return _series(
            Reroll(
                version=patches[0].line.version,
                cover=None,
                patches=tuple(patches),
                taken="",
                left_out=(),
            ),
            location,
            name,
        )
    chosen = choose_reroll(mails, location)
    said = "".join(f"; left out is {each.what}: {each.why}" for each in chosen.left_out)
    if said or chosen.combined:
        log.warning("%s: taken is %s%s", location, chosen.taken, said)
    return _series(chosen, location, name)


def _series(chosen: Reroll, location: str, name: str) -> Series:
    cover, mails = chosen.cover, chosen.patches
    letters = (cover,) if cover is not None else ()
    bases = [found.group(1) for m in (*letters, *mails) if (found := _BASE.search(m.body))]
    return Series(
        name=name,
        title=(cover or mails[0]).line.text,
        version=chosen.version.major,
        cover=cover.body if cover is not None else None,
        base_commit=bases[0] if bases else None,
        patches=tuple(
            Patch(number=number, subject=mail.line.text, mail=mail.raw)
            for number, mail in enumerate(mails, 1)
        ),
        origin=location,
        taken=chosen.taken,
        left_out=chosen.left_out,
    )


def read_patch(file: Path) -> Patch | None:
    """Return the first mail in *file* as a patch, ``None`` when it does not say that it is one."""
    mail = read_mail(next(iter(read_mails(file))))
    if not mail.is_patch:
        return None
    return Patch(number=1, subject=mail.line.text, mail=mail.raw)


@dataclass(frozen=True, slots=True, kw_only=True)
class Heading:
    """What one mail says about itself.

    :param number: its place in its series; 0 is the cover letter.
    :param total: how many patches the series has; 0 when the mail is not numbered.
    :param subject: without the ``[PATCH ...]`` prefix.
    """

    number: int
    total: int
    subject: str


def read_headings(data: bytes) -> tuple[Heading, ...]:
    """Return what the mails in *data*, one mail or an mbox, say about themselves.

    Mail that is no part of a series is left out.
    """
    mails = [read_mail(raw) for raw in split_mails(data)]
    patches = patches_in(mails)
    return tuple(
        Heading(
            number=0 if mail.is_cover else mail.line.number,
            total=mail.line.total,
            subject=mail.line.text,
        )
        for mail in mails
        if not mail.line.reply and (mail.is_cover or mail in patches)
    )
