# SPDX-License-Identifier: GPL-2.0-only
"""Which commit, or which patch of another series, is a patch that we know.

Maintainers change subjects when they merge, authors when they post again.  A patch is recognised by
its subject without regard to case and the like, else by its ``Message-ID`` (which maintainers keep
as ``Link:``), else by what it changes (``git patch-id``).
"""

from __future__ import annotations

import re
import urllib.parse
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from harness.base.store import Store, digest
from harness.kernel.mail import mail_text, message_id, touched_files
from harness.kernel.series import Patch
from harness.kernel.source import SourceTree, git

MOST_COMMITS = 1000
"""Commits of a tree that are looked at, the newest that touch the files of the patches."""

_PREFIX = re.compile(r"^(?:\s*(?:re:|fwd?:|\[[^\]]*\bpatch\b[^\]]*\]))+", re.I)
_LINK = re.compile(
    r"^[ \t]*Link:[ \t]*https?://\S*?/([^/\s]+@[^/\s]+?)/?(?:[ \t#].*)?$", re.I | re.M
)
_MESSAGE_ID = re.compile(r"^[ \t]*Message-ID:[ \t]*<([^>\s]+)>[ \t]*$", re.I | re.M)
_REVERTS = re.compile(r"^[ \t]*This reverts commit ([0-9a-f]{12,40})", re.M)
_COMMIT = re.compile(r"^commit ([0-9a-f]{40,64})\n", re.M)


class By(StrEnum):
    """What a patch was recognised by."""

    SUBJECT = "subject"
    MESSAGE_ID = "Message-ID"
    PATCH_ID = "patch-id"
    CONTENT = "content"
    """What it changes can be taken back from the tree."""


_SIGNS = (By.SUBJECT, By.MESSAGE_ID, By.PATCH_ID)
"""In the order in which they are asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What a commit or a patch is known by.

    :param name: the commit's id, or what else tells it apart.
    :param patch_id: ``None`` when it changes nothing.
    """

    name: str
    subject: str
    message_ids: frozenset[str]
    patch_id: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Recognised:
    """What a patch was recognised as.

    :param name: see :class:`Known`; empty for :attr:`By.CONTENT`.
    :param subject: what it is called there.
    :param same_change: whether it changes exactly the same.
    :param others: names of what it might be as well: which of them it is was not clear.
    """

    by: By
    name: str
    subject: str
    same_change: bool
    others: tuple[str, ...] = ()


def normalised(subject: str) -> str:
    """Return a subject without what people change in passing: case, space, prefix, full stop."""
    return " ".join(_PREFIX.sub("", subject).split()).casefold().rstrip(". ")


def known_patches(patches: Sequence[Patch]) -> tuple[Known, ...]:
    """Return what patches are known by, each under its number."""
    # What comes out names the commit in the line before the mail: here it is the number.
    mails = "".join(
        f"From {patch.number:040x} Mon Sep 17 00:00:00 2001\n{mail_text(patch.mail)}\n"
        for patch in patches
    )
    ids = _patch_ids(mails)
    return tuple(
        Known(
            name=str(patch.number),
            subject=patch.subject,
            message_ids=_ids_of_mail(patch.mail),
            patch_id=ids.get(f"{patch.number:040x}"),
        )
        for patch in patches
    )


def known_commits(source: SourceTree, patches: Sequence[Patch], store: Store) -> tuple[Known, ...]:
    """Return what a tree's commits to the files of *patches* are known by, newest first.

    A commit that was reverted later is not among them, nor is one without a parent: a tree that was
    imported from an archive has no history.
    """
    files = sorted({name for patch in patches for name in touched_files(patch.mail)})
    if not files:
        return ()

    # All of a kernel's history is gone through: that is half a minute on a slow disk.
    def make(directory: Path) -> None:
        (directory / "log").write_text(_log(source, files), encoding="utf-8")

    entry = store.get_or_make(
        "history",
        digest("history", source.base, *files),
        make,
        waiting=f"it reads the history of {source.label}",
    )
    return _read_log((entry / "log").read_text(encoding="utf-8"))


def _log(source: SourceTree, files: Sequence[str]) -> str:
    form = "--format=commit %H%n%w(0,1,1)%B%w(0,0,0)"
    words = ("log", "--no-merges", "--min-parents=1", "-n", str(MOST_COMMITS), "-p", form)
    return git(source.repo, *words, source.base, "--", *files).stdout


def _read_log(text: str) -> tuple[Known, ...]:
    ids = _patch_ids(text)
    found: list[Known] = []
    reverted: list[str] = []
    _, *parts = _COMMIT.split(text)
    for commit, said in zip(parts[::2], parts[1::2], strict=True):
        if any(commit.startswith(each) for each in reverted):
            continue
        message = said.partition("\ndiff --git ")[0]
        reverted += _REVERTS.findall(message)
        found.append(
            Known(
                name=commit,
                subject=message.strip().partition("\n")[0].strip(),
                message_ids=_ids_in(message),
                patch_id=ids.get(commit),
            )
        )
    return tuple(found)


def recognise(wanted: Iterable[Known], among: Sequence[Known]) -> Mapping[str, Recognised]:
    """Return what each of *wanted* is *among* others; those that are not found are left out.

    No two are the same one: what one was recognised as by a surer sign is out of the question for
    the rest.  Of several that fit equally well the first is taken, and the others are named.
    """
    found: dict[str, Recognised] = {}
    missing = list(wanted)
    left = list(among)
    for by in _SIGNS:
        for each in missing:
            match = _match(each, left, by)
            if match is not None:
                found[each.name] = match
        missing = [each for each in missing if each.name not in found]
        taken = {match.name for match in found.values()}
        left = [each for each in left if each.name not in taken]
    return found


def _match(wanted: Known, among: Sequence[Known], by: By) -> Recognised | None:
    fits = [each for each in among if _fits(wanted, each, by)]
    if not fits:
        return None
    decided = by
    for sign in _SIGNS[_SIGNS.index(by) + 1 :]:
        # One sign that fits several is made sure of by the next.
        closer = [each for each in fits if _fits(wanted, each, sign)]
        if closer and len(closer) < len(fits):
            fits, decided = closer, sign
    return Recognised(
        by=decided,
        name=fits[0].name,
        subject=fits[0].subject,
        same_change=_fits(wanted, fits[0], By.PATCH_ID),
        others=tuple(each.name for each in fits[1:]),
    )


def _fits(wanted: Known, other: Known, by: By) -> bool:
    match by:
        case By.SUBJECT:
            return normalised(wanted.subject) == normalised(other.subject)
        case By.MESSAGE_ID:
            return bool(wanted.message_ids & other.message_ids)
        case _:
            return wanted.patch_id is not None and wanted.patch_id == other.patch_id


def _ids_of_mail(mail: bytes) -> frozenset[str]:
    """Return a mail's own Message-ID; of a commit that was made a mail, what it links to."""
    own = message_id(mail)
    if own is not None:
        return frozenset((own,))
    return _ids_in(mail_text(mail).partition("\n---\n")[0])


def _ids_in(message: str) -> frozenset[str]:
    found = (*_LINK.findall(message), *_MESSAGE_ID.findall(message))
    return frozenset(urllib.parse.unquote(each) for each in found)


def _patch_ids(patches: str) -> dict[str, str]:
    """Return commit -> patch-id of everything in *patches* that changes something."""
    said = git(Path(), "patch-id", "--stable", input=patches.encode(errors="replace")).stdout
    pairs = (line.split() for line in said.splitlines())
    return {commit: patch_id for patch_id, commit in pairs}
