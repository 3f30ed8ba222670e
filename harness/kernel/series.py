# SPDX-License-Identifier: GPL-2.0-only
"""A patch series, read as mail is: from an mbox, a maildir, a directory, or a git range."""

from __future__ import annotations

import dataclasses
import email
import email.policy
import logging
import re
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from email.message import EmailMessage
from pathlib import Path

from harness.base.errors import SeriesError
from harness.kernel.source import git

log = logging.getLogger(__name__)

_PREFIX = re.compile(r"^\s*\[(?P<tags>[^\]]*\bPATCH\b[^\]]*)\]\s*(?P<subject>.*)$", re.I | re.S)
_NUMBERS = re.compile(r"\b(\d+)/(\d+)\b")
_VERSION = re.compile(r"\bv(\d+)\b", re.I)
_DIFF = re.compile(r"^(?:diff --git |--- \S)", re.M)
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
    """

    name: str
    title: str
    version: int
    cover: str | None
    base_commit: str | None
    patches: tuple[Patch, ...]
    origin: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Mail:
    """A mail that is part of some series."""

    subject: str
    number: int
    total: int
    version: int
    body: str
    raw: bytes

    @property
    def is_cover(self) -> bool:
        return self.number == 0 or (self.total == 0 and not _DIFF.search(self.body))


def read_series(location: str, *, repo: Path | None = None, whole: bool = True) -> Series:
    """Read a series from an mbox, a maildir, a directory of patches, a patch, or a git range.

    Of several re-rolls the newest complete one is taken.  Replies and other mail are ignored.

    :param repo: the git tree that a range ``A..B`` is of.
    :param whole: whether it has to be a whole series; else any patches will do, in their order.
    :raises SeriesError: when there is no patch, or a part is missing or there twice.
    """
    path = Path(location)
    if path.exists():
        mails = [mail for raw in _raw_mails(path) if (mail := _parse(raw)) is not None]
    elif ".." in location:
        if repo is None:
            raise SeriesError(
                f"{location!r} is no file", hint="a git range needs the tree it is of: --kernel"
            )
        mails = [mail for raw in _range_mails(repo, location) if (mail := _parse(raw)) is not None]
    else:
        raise SeriesError(
            f"there is no series at {location}",
            hint="expected an mbox, a maildir, a directory of patches, or A..B",
        )
    if not any(not mail.is_cover for mail in mails):
        raise SeriesError(
            f"{location} holds no patch", hint="a patch is a mail with '[PATCH' and a diff"
        )
    name = path.name if path.exists() else location
    if not whole:
        patches = [dataclasses.replace(mail, total=0) for mail in mails if not mail.is_cover]
        return _series(patches, location, name, patches[0].version)
    return _choose(mails, location, name)


def read_patch(file: Path) -> Patch | None:
    """Return the first mail in *file* as a patch, ``None`` when it does not say that it is one."""
    mail = _parse(next(iter(_raw_mails(file))))
    return Patch(number=1, subject=mail.subject, mail=mail.raw) if mail is not None else None


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
    raws = _mbox(data) if data.startswith(b"From ") else [data]
    mails = [mail for raw in raws if (mail := _parse(raw)) is not None]
    return tuple(
        Heading(number=0 if m.is_cover else m.number, total=m.total, subject=m.subject)
        for m in mails
    )


def _raw_mails(path: Path) -> Iterator[bytes]:
    if path.is_file():
        data = path.read_bytes()
        # A single format-patch file is an mbox of one; a saved mail may lack the From line.
        if data.startswith(b"From "):
            yield from _mbox(data)
        else:
            yield data
    elif (path / "cur").is_dir() or (path / "new").is_dir():
        for folder in ("new", "cur"):
            for file in sorted((path / folder).glob("*")):
                yield file.read_bytes()
    else:
        files = [p for p in sorted(path.iterdir()) if p.suffix in (".patch", ".mbox", ".eml")]
        for file in files or [p for p in sorted(path.iterdir()) if p.is_file()]:
            yield from _raw_mails(file)


_FROM_LINE = re.compile(
    rb"(?:\A|(?<=\n\n))From \S+.*\d\d:\d\d"
    # Patches that were strung together with cat have no empty line between them.
    rb"|(?<=\n)From \S+ +[A-Z][a-z]{2} [A-Z][a-z]{2} +\d+ \d\d:\d\d:\d\d \d{4}$",
    re.M,
)


def _mbox(data: bytes) -> Iterator[bytes]:
    """Split an mbox at its ``From `` lines."""
    data = data.replace(b"\r\n", b"\n")
    starts = [m.start() for m in _FROM_LINE.finditer(data)]
    for start, end in zip(starts, [*starts[1:], len(data)], strict=False):
        body = data[start:end].partition(b"\n")[2]
        yield re.sub(rb"^>(>*From )", rb"\1", body, flags=re.M)


def _range_mails(repo: Path, revisions: str) -> Iterator[bytes]:
    with tempfile.TemporaryDirectory(prefix="harness-range-") as directory:
        # Files, not standard output: a patch may hold bytes that are no text.
        words = ("format-patch", "--no-signature", "-N", "-o", directory, revisions)
        done = git(repo, *words, check=False)
        if done.returncode != 0:
            said = done.stderr.strip().splitlines()
            raise SeriesError(
                f"{repo} has no range {revisions!r}: {said[-1] if said else 'git says nothing'}"
            )
        files = sorted(Path(directory).iterdir())
        mails = [mail for file in files for mail in _mbox(file.read_bytes())]
    for number, mail in enumerate(mails, 1):
        tag = b"Subject: [PATCH %d/%d]" % (number, len(mails))
        yield re.sub(rb"^Subject: \[PATCH\]", tag, mail, count=1, flags=re.M)


def _parse(raw: bytes) -> _Mail | None:
    raw = raw.replace(b"\r\n", b"\n")
    message = _message(raw)
    subject = re.sub(r"\s+", " ", str(message.get("Subject", ""))).strip()
    match = _PREFIX.match(subject)
    if match is None or re.match(r"(?i)re:", subject):
        return None
    numbers = _NUMBERS.search(match.group("tags"))
    version = _VERSION.search(match.group("tags"))
    mail = _Mail(
        subject=match.group("subject").strip(),
        number=int(numbers.group(1)) if numbers else 1,
        total=int(numbers.group(2)) if numbers else 0,
        version=int(version.group(1)) if version else 1,
        body=_text(message, raw),
        raw=raw,
    )
    if not mail.is_cover and not _DIFF.search(mail.body):
        return None
    if "format=flowed" in str(message.get("Content-Type", "")).lower() and not mail.is_cover:
        log.warning("%s is format=flowed: its white space may be damaged", mail.subject)
    return mail


def _choose(mails: Sequence[_Mail], location: str, name: str) -> Series:
    """Pick the newest complete re-roll and put it in order."""
    problems: list[str] = []
    for version in sorted({mail.version for mail in mails}, reverse=True):
        chosen = [mail for mail in mails if mail.version == version]
        if any(mail.total for mail in chosen if not mail.is_cover):
            # An unnumbered patch in a numbered thread is somebody's suggestion.
            chosen = [mail for mail in chosen if mail.total]
        problem = _incomplete(chosen)
        if problem is None:
            older = sorted({m.version for m in mails if m.version < version})
            if older or problems:
                log.warning("%s: v%d of the series is taken", location, version)
            return _series(chosen, location, name, version)
        problems.append(f"v{version}: {problem}")
    raise SeriesError(
        f"{location} is not a whole series: {'; '.join(problems)}",
        hint="fetch the whole thread, for example with 'b4 am'",
    )


def _incomplete(mails: Sequence[_Mail]) -> str | None:
    patches = [mail for mail in mails if not mail.is_cover]
    if all(mail.total == 0 for mail in patches):
        return None if patches else "there is no patch"
    total = max(mail.total for mail in mails)
    numbers = [mail.number for mail in patches]
    missing = sorted(set(range(1, total + 1)) - set(numbers))
    if missing:
        return f"part {', '.join(map(str, missing))} of {total} missing"
    twice = sorted({number for number in numbers if numbers.count(number) > 1})
    contents = {number: {m.body for m in patches if m.number == number} for number in twice}
    different = [number for number, bodies in contents.items() if len(bodies) > 1]
    return f"part {different[0]} is there twice, and differs" if different else None


def _series(mails: Sequence[_Mail], location: str, name: str, version: int) -> Series:
    covers = [mail for mail in mails if mail.is_cover]
    unique: dict[int, _Mail] = {}
    for place, mail in enumerate(mail for mail in mails if not mail.is_cover):
        unique.setdefault(mail.number if mail.total else place + 1, mail)
    patches = tuple(
        Patch(number=number, subject=mail.subject, mail=mail.raw)
        for number, mail in sorted(unique.items())
    )
    bases = [m.group(1) for mail in (*covers, *unique.values()) if (m := _BASE.search(mail.body))]
    return Series(
        name=name.removesuffix(".mbx").removesuffix(".mbox").removesuffix(".patch"),
        title=covers[0].subject if covers else patches[0].subject,
        version=version,
        cover=covers[0].body if covers else None,
        base_commit=bases[0] if bases else None,
        patches=patches,
        origin=location,
    )


def touched_files(mail: bytes) -> tuple[str, ...]:
    """Return the files that a patch is about, old and new names."""
    body = mail_text(mail)
    names: Iterable[str] = re.findall(r"^(?:---|\+\+\+) [ab]/(\S+)", body, re.M)
    renames = re.findall(r"^(?:rename|copy) (?:from|to) (\S+)", body, re.M)
    return tuple(sorted({*names, *renames}))


def message_id(mail: bytes) -> str | None:
    """Return a mail's ``Message-ID`` without its brackets, ``None`` when it has none."""
    return str(_message(mail).get("Message-ID", "")).strip().strip("<>") or None


def mail_text(mail: bytes) -> str:
    """Return a mail's text, its transfer encoding undone."""
    return _text(_message(mail), mail)


def _message(mail: bytes) -> EmailMessage:
    message = email.message_from_bytes(mail, policy=email.policy.default)
    assert isinstance(message, EmailMessage)  # noqa: S101 - the default policy makes them
    return message


def _text(message: EmailMessage, mail: bytes) -> str:
    part = message.get_body(("plain",))
    try:
        text = str(part.get_content()) if part is not None else ""
    except (LookupError, UnicodeError):
        # It says something of itself that is not so: a patch is mostly ASCII all the same.
        text = mail.decode("utf-8", errors="replace")
    return text.replace("\r\n", "\n")
