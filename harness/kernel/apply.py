# SPDX-License-Identifier: GPL-2.0-only
"""Put a patch series on a tree: one commit a patch, on top of the support commits.

*Position* N of a series is the base, the support commits, and its first N patches.  Positions are
commits of our own repository, found again by the content of everything below them: when patch 7
changes, positions 0 to 6 are as they were.
"""

from __future__ import annotations

import fnmatch
import itertools
import logging
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from harness.base.errors import SeriesError
from harness.base.progress import OnProgress, Progress
from harness.base.store import Store, digest
from harness.base.strict_yaml import Section, read_yaml_list
from harness.kernel.mail import mail_bytes, mails_for_am, touched_files
from harness.kernel.recognise import (
    By,
    Recognised,
    known_commits,
    known_patches,
    recognise,
)
from harness.kernel.series import Patch, Series, read_patch
from harness.kernel.source import SourceTree, git

log = logging.getLogger(__name__)


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
    :param already: what the tree had it as before, so that *commit* is that of the position
        before; ``None`` when it had not.
    """

    number: int
    subject: str
    commit: str
    tree: str
    already: Recognised | None = None


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
    def in_tree(self) -> tuple[Position, ...]:
        """The positions of patches that the tree had before."""
        return tuple(position for position in self.positions if position.already is not None)

    @property
    def worth(self) -> tuple[int, ...]:
        """The positions that differ from each other: without those of patches the tree had.

        When it had all of them, the last one stands for all.
        """
        already = {position.number for position in self.in_tree}
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


def apply_series(
    source: SourceTree,
    series: Series | None,
    store: Store,
    *,
    support: Path | None,
    progress: OnProgress,
) -> AppliedSeries:
    """Turn base, support commits and patches into one commit each, up to one that does not apply.

    Patches that the tree has already are passed over, and their positions say so; that is asked
    when one does not apply.

    :param support: directory with ``support.yaml``; ``None`` for no support commits.
    :raises SeriesError: naming the support commit that does not apply, with file and hunk.
    """
    broken = None
    with store.lock(f"{source.lock}-am", waiting="it applies a series"):
        chain = _Chain(source, store, progress)
        supports = tuple(_apply_support(chain, support)) if support is not None else ()
        positions = [Position(number=0, subject="base", commit=chain.commit, tree=chain.tree())]
        already: Mapping[int, Recognised] | None = None
        for patch in series.patches if series is not None else ():
            if already is None or patch.number not in already:
                try:
                    chain.apply(patch.mail, f"patch {patch.name}")
                except SeriesError as error:
                    if already is None and series is not None:
                        already = chain.already(series.patches[len(positions) - 1 :])
                    if already is None or patch.number not in already:
                        broken = _with_hint(error, already)
                        break
            positions.append(
                Position(
                    number=patch.number,
                    subject=patch.subject,
                    commit=chain.commit,
                    tree=chain.tree(),
                    already=already.get(patch.number) if already is not None else None,
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


def _with_hint(error: SeriesError, already: Mapping[int, Recognised] | None) -> SeriesError:
    """Return *error* with what to do about a tree that has other patches of the series."""
    if not already:
        return error
    numbers = ", ".join(map(str, sorted(already)))
    many = len(already) > 1
    return SeriesError(
        error.message,
        patch=error.patch,
        hint=f"the tree has patch{'es' if many else ''} {numbers} already: rebase the others onto "
        f"it, or name a revision before {'them' if many else 'it'} with --base",
    )


def apply_extra(
    source: SourceTree,
    at: Position,
    extra: Sequence[Series],
    store: Store,
    *,
    progress: OnProgress,
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
        patch = read_patch(file)
        if patch is None:
            raise item.error("patch", f"not a patch: {file}")
        if not why:
            chain.apply(patch.mail, f'support commit "{patch.subject}"')
        yield SupportPatch(subject=patch.subject, reason=reason, applied=not why, why_left_out=why)


def _already(chain: _Chain, rule: Section) -> str:
    """Return how the tree shows that it needs a support commit no more; empty if it does."""
    pattern = rule.value("file", str)
    contains, lacks = rule.pattern("contains", ""), rule.pattern("lacks", "")
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
    found = fnmatch.filter(names, pattern)
    for name in found:
        if not contains and not lacks:
            return f"the tree has {name}"
        text = git(chain.repo, "show", f"{chain.commit}:{name}").stdout
        if lacks and not re.search(lacks, text):
            return f"{name} of this tree has nothing like {lacks}"
        if contains and re.search(contains, text):
            return f"{name} of this tree does it"
    return f"the tree has no {pattern}" if lacks and not found else ""


class _Chain:
    """Commits on top of each other, each found again by the content of all below it.

    :param on: the position to start from; ``None`` is the tree itself.
    """

    def __init__(
        self,
        source: SourceTree,
        store: Store,
        progress: OnProgress,
        on: Position | None = None,
    ) -> None:
        self._source, self._store = source, store
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
        self._progress(Progress(f"applying {what}"))
        self._prepare(mail)
        said = self._am(mail)
        if said is not None:
            raise self._failed(mail, what, said)
        self.commit = self._at = git(self._directory, "rev-parse", "HEAD").stdout.strip()
        self._key = key
        git(self.repo, "update-ref", ref, self.commit)

    def _am(self, mail: bytes) -> str | None:
        """Let ``git am`` apply a mail; return what it said when it could not, else ``None``.

        A line end in an encoded text is the file's own, as git has it; when that does not apply,
        it is one that a mailer made.
        """
        failed = None
        for form, cr in itertools.product(mails_for_am(mail), ("nowarn", "strip")):
            done = git(
                self._directory,
                *("am", "--quiet", "--committer-date-is-author-date", "--keep-non-patch"),
                *("--patch-format=mboxrd", "--keep-cr", f"--quoted-cr={cr}", "--no-gpg-sign"),
                input=form,
                check=False,
            )
            if done.returncode == 0:
                return None
            git(self._directory, "am", "--abort", check=False)
            failed = failed or done.stderr + done.stdout
        return failed or "there is no text in it"

    def already(self, patches: Sequence[Patch]) -> dict[int, Recognised]:
        """Return which patches the tree has already, by their number.

        They are looked for in its history; and they are taken back from the last one on, since
        later patches may change what earlier ones brought.  One that can be taken back is there,
        whatever the history says; a tree without one says nothing.
        """
        commits = known_commits(self._source, patches, self._store)
        recognised = recognise(known_patches(patches), commits)
        found = {}
        for patch in reversed(patches):
            self._prepare(patch.mail)
            back = git(
                self._directory, "apply", "--reverse", "--index",
                input=mail_bytes(patch.mail), check=False,
            )  # fmt: skip
            same = back.returncode == 0
            by = recognised.get(str(patch.number))
            if by is not None:
                found[patch.number] = replace(by, same_change=by.same_change or same)
            elif same:
                found[patch.number] = Recognised(
                    by=By.CONTENT, name="", subject=patch.subject, same_change=True
                )
        git(self._directory, "reset", "--quiet", "--hard", self.commit, check=False)
        return found

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
            paths = "".join(f"{_pattern(name)}\n" for name in files if "\n" not in name)
            lines = paths.encode(errors="surrogateescape")
            git(self._directory, "sparse-checkout", "add", "--stdin", input=lines)

    def _failed(self, mail: bytes, what: str, said: str) -> SeriesError:
        failed = re.search(r"error: patch failed: (\S+?):(\d+)", said)
        missing = re.search(r"error: (\S+): does not exist in index", said)
        again = git(
            self._directory, "apply", "--check", "--reverse", "--index",
            input=mail_bytes(mail), check=False,
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
        if "ident name" in said:
            hint = "the mail's From: has no author, as a list's archive may leave it"
        elif "corrupt patch" in said:
            hint = "the patch is damaged: was it edited by hand, or wrapped by a mailer?"
        return SeriesError(f"{what} does not apply: {where}", patch=what, hint=hint)


def _pattern(name: str) -> str:
    """Return what matches a file alone, as gitignore(5) reads it."""
    return "/" + re.sub(r"([\\*?\[\]]|\s$)", r"\\\1", name)
