# SPDX-License-Identifier: GPL-2.0-only
"""A patch series: read it as mail is, and turn it into one commit a patch.

*Position* N of a series is the base, the support commits, and its first N patches.  Positions are
commits of our own repository, found again by the content of everything below them: when patch 7
changes, positions 0 to 6 are as they were.
"""

from __future__ import annotations

import dataclasses
import email
import email.policy
import fnmatch
import logging
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from email.message import EmailMessage
from pathlib import Path

from harness.errors import SeriesError
from harness.source import SourceTree, git
from harness.spec import Section, read_yaml_list
from harness.store import Store, digest

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
class SupportPatch:
    """A commit under every position.

    :param applied: whether it was needed.
    :param why_left_out: empty when it was applied.
    """

    subject: str
    reason: str
    applied: bool
    why_left_out: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """The first *number* patches, as a commit.

    :param subject: of the patch that makes the difference to the position before.
    :param tree: the git tree of *commit*.
    :param already: whether the tree had the patch before, so that *commit* is that of the position
        before.
    """

    number: int
    subject: str
    commit: str
    tree: str
    already: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class AppliedSeries:
    """A series on a tree.

    :param series: ``None`` when the tree is tested as it is.
    :param positions: index is position; those that could be had.
    :param broken: why there are no more, ``None`` when every patch applies.
    """

    source: SourceTree
    series: Series | None
    support: tuple[SupportPatch, ...]
    positions: tuple[Position, ...]
    broken: SeriesError | None = None

    @property
    def last(self) -> int:
        """The position with every patch, whether it can be had or not."""
        return len(self.series.patches) if self.series is not None else len(self.positions) - 1

    @property
    def worth(self) -> tuple[int, ...]:
        """The positions that differ from each other: without those of patches the tree had.

        When it had all of them, the last one stands for all.
        """
        already = {position.number for position in self.positions if position.already}
        kept = tuple(number for number in range(self.last + 1) if number not in already)
        return kept if len(kept) > 1 else (self.last,)

    def position(self, number: int | None) -> Position:
        """Return a position, the last one for ``None``.

        :raises SeriesError: when there is none of that number, or a patch below it does not apply.
        """
        wanted = self.last if number is None else number
        if not 0 <= wanted <= self.last:
            raise SeriesError(
                f"there is no position {wanted}",
                hint=f"positions run from 0 (no patch) to {self.last} (all)",
            )
        if self.broken is not None and wanted >= len(self.positions):
            raise self.broken
        return self.positions[wanted]


# -- reading ---------------------------------------------------------------------------------


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
    message = email.message_from_bytes(raw, policy=email.policy.default)
    assert isinstance(message, EmailMessage)  # noqa: S101 - the default policy makes them
    subject = re.sub(r"\s+", " ", str(message.get("Subject", ""))).strip()
    match = _PREFIX.match(subject)
    if match is None or re.match(r"(?i)re:", subject):
        return None
    part = message.get_body(("plain",))
    try:
        body = str(part.get_content()) if part is not None else ""
    except (LookupError, UnicodeError):
        body = raw.decode("utf-8", errors="replace")
    numbers = _NUMBERS.search(match.group("tags"))
    version = _VERSION.search(match.group("tags"))
    mail = _Mail(
        subject=match.group("subject").strip(),
        number=int(numbers.group(1)) if numbers else 1,
        total=int(numbers.group(2)) if numbers else 0,
        version=int(version.group(1)) if version else 1,
        body=body.replace("\r\n", "\n"),
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


# -- applying --------------------------------------------------------------------------------


def apply_series(
    source: SourceTree,
    series: Series | None,
    store: Store,
    *,
    support: Path | None,
    progress: Callable[[str], None],
) -> AppliedSeries:
    """Turn base, support commits and patches into one commit each, up to one that does not apply.

    Patches that the tree has already are passed over, and their positions say so.

    :param support: directory with ``support.yaml``; ``None`` for no support commits.
    :raises SeriesError: naming the support commit that does not apply, with file and hunk.
    """
    broken = None
    with store.lock(f"{source.lock}-am", waiting="it applies a series"):
        chain = _Chain(source, store, progress)
        supports = tuple(_apply_support(chain, support)) if support is not None else ()
        positions = [Position(number=0, subject="base", commit=chain.commit, tree=chain.tree())]
        already: frozenset[int] | None = None
        for patch in series.patches if series is not None else ():
            if already is None or patch.number not in already:
                try:
                    chain.apply(patch.mail, f"patch {patch.name}")
                except SeriesError as error:
                    if already is None and series is not None:
                        already = chain.already(series.patches[len(positions) - 1 :])
                    if already is None or patch.number not in already:
                        broken = error
                        break
            positions.append(
                Position(
                    number=patch.number,
                    subject=patch.subject,
                    commit=chain.commit,
                    tree=chain.tree(),
                    already=already is not None and patch.number in already,
                )
            )
        chain.close()
    if series is not None and series.base_commit is not None:
        same = git(source.repo, "rev-parse", "-q", "--verify", series.base_commit, check=False)
        if same.stdout.strip() != source.base:
            log.info("the series was made on %s", series.base_commit[:12])
    return AppliedSeries(
        source=source,
        series=series,
        support=supports,
        positions=tuple(positions),
        broken=broken,
    )


def apply_extra(
    source: SourceTree,
    at: Position,
    extra: Sequence[Series],
    store: Store,
    *,
    progress: Callable[[str], None],
) -> Position:
    """Return the position *at* with further patches on top; it keeps its number.

    :raises SeriesError: naming the patch that does not apply, and the file it is from.
    """
    with store.lock(f"{source.lock}-am", waiting="it applies a series"):
        chain = _Chain(source, store, progress, on=at)
        subject = at.subject
        for series in extra:
            for patch in series.patches:
                chain.apply(patch.mail, f'extra patch "{patch.subject}" ({series.origin})')
                subject = patch.subject
        tree = chain.tree()
        chain.close()
    return Position(number=at.number, subject=subject, commit=chain.commit, tree=tree)


def _apply_support(chain: _Chain, directory: Path) -> Iterator[SupportPatch]:
    for item in read_yaml_list(directory / "support.yaml", "support"):
        with item:
            file = directory / item.value("patch", str)
            reason = item.value("reason", str).strip()
            with item.section("already") as already:
                why = _already(chain, already)
        if not file.is_file():
            raise item.error("patch", f"no such patch: {file}")
        mail = _parse(next(iter(_raw_mails(file))))
        if mail is None:
            raise item.error("patch", f"not a patch: {file}")
        if not why:
            chain.apply(mail.raw, f'support commit "{mail.subject}"')
        yield SupportPatch(subject=mail.subject, reason=reason, applied=not why, why_left_out=why)


def _already(chain: _Chain, rule: Section) -> str:
    """Return how the tree shows that it needs a support commit no more; empty if it does."""
    pattern = rule.value("file", str)
    contains = rule.value("contains", str, "")
    fixed = re.split(r"[*?\[]", pattern)[0].rpartition("/")[0]
    names = git(
        chain.repo,
        "ls-tree",
        "-r",
        "--name-only",
        chain.commit,
        "--",
        f"{fixed}/" if fixed else ".",
    ).stdout.splitlines()
    for name in fnmatch.filter(names, pattern):
        if not contains:
            return f"the tree has {name}"
        text = git(chain.repo, "show", f"{chain.commit}:{name}").stdout
        if re.search(contains, text):
            return f"{name} of this tree does it"
    return ""


class _Chain:
    """Commits on top of each other, each found again by the content of all below it.

    :param on: the position to start from; ``None`` is the tree itself.
    """

    def __init__(
        self,
        source: SourceTree,
        store: Store,
        progress: Callable[[str], None],
        on: Position | None = None,
    ) -> None:
        self.repo = source.repo
        self.commit = source.base if on is None else on.commit
        self._key = digest("chain", source.tree if on is None else on.commit)
        self._progress = progress
        self._directory = store.work(source.lock) / "am"
        self._at: str | None = None

    def tree(self) -> str:
        return git(self.repo, "rev-parse", f"{self.commit}^{{tree}}").stdout.strip()

    def apply(self, mail: bytes, what: str) -> None:
        """Add one commit."""
        key = digest("chain", self._key, mail.decode("latin-1"))
        ref = f"refs/harness/chain/{key}"
        known = git(self.repo, "rev-parse", "-q", "--verify", ref, check=False)
        if known.returncode == 0:
            self.commit, self._key = known.stdout.strip(), key
            return
        self._progress(f"applying {what}")
        self._prepare(mail)
        done = git(
            self._directory,
            *("am", "--quiet", "--committer-date-is-author-date", "--keep-non-patch"),
            *("--quoted-cr=strip", "--no-gpg-sign"),
            input=mail_for_am(mail),
            check=False,
        )
        if done.returncode != 0:
            git(self._directory, "am", "--abort", check=False)
            raise self._failed(mail, what, done.stderr + done.stdout)
        self.commit = self._at = git(self._directory, "rev-parse", "HEAD").stdout.strip()
        self._key = key
        git(self.repo, "update-ref", ref, self.commit)

    def already(self, patches: Sequence[Patch]) -> frozenset[int]:
        """Return the numbers of the patches that the tree has already.

        They are taken back from the last one on, since later patches may change what earlier ones
        brought; one that cannot be taken back is not there, or not like this.
        """
        found = set()
        for patch in reversed(patches):
            self._prepare(patch.mail)
            back = git(
                self._directory, "apply", "--reverse", "--index",
                input=_body(patch.mail).encode(), check=False,
            )  # fmt: skip
            if back.returncode == 0:
                found.add(patch.number)
        git(self._directory, "reset", "--quiet", "--hard", self.commit, check=False)
        return frozenset(found)

    def close(self) -> None:
        """Remove the scratch work tree."""
        if self._at is not None:
            self._remove()

    def _remove(self) -> None:
        shutil.rmtree(self._directory, ignore_errors=True)
        git(self.repo, "worktree", "prune")

    def _prepare(self, mail: bytes) -> None:
        """Have a work tree at our commit that holds just the files the patch is about."""
        if self._at != self.commit:
            self._remove()
            git(
                self.repo, "worktree", "add", "--quiet", "--no-checkout", "--detach",
                self._directory, self.commit,
            )  # fmt: skip
            git(self._directory, "sparse-checkout", "set", "--no-cone", "/Makefile")
            git(self._directory, "checkout", "--quiet", "--detach", self.commit)
            self._at = self.commit
        files = touched_files(mail)
        if files:
            paths = "".join(f"/{name}\n" for name in files)
            git(self._directory, "sparse-checkout", "add", "--stdin", input=paths.encode())

    def _failed(self, mail: bytes, what: str, said: str) -> SeriesError:
        failed = re.search(r"error: patch failed: (\S+?):(\d+)", said)
        missing = re.search(r"error: (\S+): does not exist in index", said)
        again = git(
            self._directory, "apply", "--check", "--reverse", "--index",
            input=_body(mail).encode(), check=False,
        )  # fmt: skip
        if again.returncode == 0:
            return SeriesError(f"{what} is already in the tree", patch=what)
        if failed is not None:
            where = f"{failed.group(1)}, the hunk at line {failed.group(2)}"
        elif missing is not None:
            where = f"{missing.group(1)} is not in the tree"
        else:
            lines = [line for line in said.splitlines() if line.strip()]
            where = lines[0].removeprefix("error: ") if lines else "git says nothing"
        hint = "is this the tree that the series was made for? --base names another revision"
        if "corrupt patch" in said:
            hint = "the patch is damaged: was it edited by hand, or wrapped by a mailer?"
        return SeriesError(f"{what} does not apply: {where}", patch=what, hint=hint)


def mail_for_am(mail: bytes) -> bytes:
    """Return a mail as an mbox of one, which is what ``git am`` reads."""
    return b"From " + b"0" * 40 + b" Mon Sep 17 00:00:00 2001\n" + mail


def touched_files(mail: bytes) -> tuple[str, ...]:
    """Return the files that a patch is about, old and new names."""
    body = _body(mail)
    names: Iterable[str] = re.findall(r"^(?:---|\+\+\+) [ab]/(\S+)", body, re.M)
    renames = re.findall(r"^(?:rename|copy) (?:from|to) (\S+)", body, re.M)
    return tuple(sorted({*names, *renames}))


def _body(mail: bytes) -> str:
    """Return a mail's text, its transfer encoding undone."""
    message = email.message_from_bytes(mail, policy=email.policy.default)
    assert isinstance(message, EmailMessage)  # noqa: S101 - the default policy makes them
    part = message.get_body(("plain",))
    try:
        text = str(part.get_content()) if part is not None else ""
    except (LookupError, UnicodeError):
        text = mail.decode("utf-8", errors="replace")
    return text.replace("\r\n", "\n")
