# SPDX-License-Identifier: GPL-2.0-only
"""Commits of a git tree as the mails that they would be, and the cover letter that b4 keeps there.

``b4 prep`` keeps the cover letter in an empty commit below the patches or on top of them, with a
marker and data of its own behind the text; or in the branch's description, with the data in
``branch.NAME.b4-tracking`` (b4 0.16; its documentation, "prep", "Cover letter strategies").
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from harness.base.errors import SeriesError
from harness.kernel.mailbox import split_mails
from harness.kernel.source import git

_TRACKING = "--- b4-submit-tracking ---"
_MOST_COMMITS = 1000
"""Commits of a branch that are looked through for a cover letter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Cover:
    """A cover letter of b4's.

    :param commit: the commit that it is; ``None`` when it is the branch's description.
    :param base: the branch that the patches go on, as b4 knows it; empty when it does not.
    """

    title: str
    text: str
    revision: int
    base: str
    commit: str | None


def read_commits(location: str, repo: Path | None) -> Iterator[bytes]:
    """Return the commits of a range ``A..B``, or of a branch that ``b4 prep`` made, as mails.

    :raises SeriesError: when there is no such range or branch.
    """
    if repo is None and ".." in location:
        raise SeriesError(
            f"{location!r} is no file", hint="a git range needs the tree it is of: --kernel"
        )
    if ".." in location and repo is not None:
        branch = location.rpartition("..")[2].lstrip(".")
        cover = _cover_in(repo, location) or (_described(repo, branch) if branch else None)
        yield from _mails(repo, location, cover)
        return
    known = repo is not None and _commit(repo, location)
    if repo is None or not known:
        raise SeriesError(
            f"there is no series at {location}",
            hint="expected an mbox, a maildir, a directory of patches, A..B, a branch of b4 prep, "
            "or a Message-ID",
        )
    cover = _cover_in(repo, location) or _described(repo, location)
    if cover is None:
        raise SeriesError(
            f"the branch {location} of {repo} has no cover letter of b4's",
            hint=f"name its commits: A..{location}",
        )
    yield from _mails(repo, _range(repo, location, cover), cover)


def _commit(repo: Path, revision: str) -> str:
    words = ("rev-parse", "-q", "--verify", "--end-of-options", f"{revision}^{{commit}}")
    return git(repo, *words, check=False).stdout.strip()


def _cover_in(repo: Path, revisions: str) -> _Cover | None:
    words = ("log", f"-{_MOST_COMMITS}", "--format=%H%n%B%x00", "--end-of-options", revisions, "--")
    for said in git(repo, *words, check=False).stdout.split("\0"):
        commit, _, message = said.strip("\n").partition("\n")
        if _TRACKING in message:
            return _cover(message, commit)
    return None


def _described(repo: Path, branch: str) -> _Cover | None:
    said, data = (
        git(repo, "config", f"branch.{branch}.{key}", check=False).stdout
        for key in ("description", "b4-tracking")
    )
    return _cover(f"{said}\n{_TRACKING}\n{data}", None) if data.strip() else None


def _cover(message: str, commit: str | None) -> _Cover:
    # b4's template is in comments, and so is its warning before the data.
    lines = "\n".join(line for line in message.splitlines() if not line.startswith("#"))
    text, _, data = lines.partition(_TRACKING)
    title, _, body = text.strip().partition("\n")
    try:
        series = json.loads(data).get("series", {})
        revision, base = int(series.get("revision", 1)), str(series.get("base-branch", ""))
    except (ValueError, AttributeError, TypeError):
        revision, base = 1, ""
    return _Cover(title=title, text=body.strip(), revision=revision, base=base, commit=commit)


def _range(repo: Path, branch: str, cover: _Cover) -> str:
    tip = _commit(repo, branch)
    if cover.commit is not None and cover.commit != tip:
        return f"{cover.commit}..{tip}"
    base = git(repo, "merge-base", cover.base or "HEAD", tip, check=False).stdout.strip()
    if not base or not cover.base:
        raise SeriesError(
            f"{branch} does not say which commits are its patches",
            hint=f"name its commits: A..{branch}",
        )
    return f"{base}..{tip}"


def _mails(repo: Path, revisions: str, cover: _Cover | None) -> Iterator[bytes]:
    version = f" v{cover.revision}" if cover is not None and cover.revision > 1 else ""
    mails = _format(repo, revisions)
    if cover is not None:
        head = f"From: b4 <b4@localhost>\nSubject: [PATCH{version} 0/{len(mails)}] {cover.title}\n"
        form = "Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n"
        yield f"{head}{form}\n{cover.text}\n".encode()
    for number, mail in enumerate(mails, 1):
        tag = f"Subject: [PATCH{version} {number}/{len(mails)}]".encode()
        yield re.sub(rb"^Subject: \[PATCH\]", tag, mail, count=1, flags=re.M)


def _format(repo: Path, revisions: str) -> list[bytes]:
    with tempfile.TemporaryDirectory(prefix="harness-range-") as directory:
        # Files, not standard output: a patch may hold bytes that are no text.
        words = (
            "format-patch", "--no-signature", "-N", "--subject-prefix=PATCH", "--no-attach",
            "--no-cover-letter", "--src-prefix=a/", "--dst-prefix=b/", "-o", directory, revisions,
        )  # fmt: skip
        done = git(repo, *words, check=False)
        if done.returncode != 0:
            said = done.stderr.strip().splitlines()
            raise SeriesError(
                f"{repo} has no range {revisions!r}: {said[-1] if said else 'git says nothing'}"
            )
        files = sorted(Path(directory).iterdir())
        mails = [mail for file in files for mail in split_mails(file.read_bytes())]
    # A commit that changes nothing is a cover letter, or nothing that could be applied.
    return [mail for mail in mails if b"\ndiff --git " in mail]
