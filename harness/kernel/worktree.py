# SPDX-License-Identifier: GPL-2.0-only
"""Work trees of a repository, each with its object trees beside it; a build has one to itself.

One is enough for few CPUs: it is walked through the positions of a series, and make rebuilds what
the checkout changed.  With more CPUs there are more, since the end of every build, where it
links, is the work of one.  They have the same layout, so that the compiler cache serves all.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from harness.base.cpus import usable_cpus
from harness.base.errors import (
    BuildError,
    CommandError,
    InfrastructureError,
    SourceError,
    SpecError,
)
from harness.base.spec import DEFAULT_CC
from harness.base.store import Store
from harness.kernel.source import SourceTree, git

_CPUS = 4
"""CPUs for one work tree: with that many a small build is linking for half of its time."""

_LEAST_BYTES = 1 << 24
"""With less room than this a disk is full."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trees:
    """The two directories that a kernel is built in; whoever uses them holds their lock.

    :param sources: a work tree.
    :param objects: the object tree that belongs to it.
    """

    sources: Path
    objects: Path

    @property
    def log_file(self) -> Path:
        """What the programs of the last build said."""
        return self.objects.parent / f"{self.objects.name}.log"

    @property
    def state(self) -> Path:
        """See :func:`state_directory`."""
        return state_directory(self.objects)


def state_directory(objects: Path) -> Path:
    """Return where we note things about an object tree.

    It is beside it: what a kernel tree runs may make a link of any name in its objects.
    """
    return objects.parent / f"{objects.name}.state"


def inside(objects: Path, path: Path) -> Path:
    """Return the file that *path* stands for, which has to be one of the object tree.

    :raises BuildError: when it is a link to another one, such as a key of the user's.
    """
    found = path.resolve()
    if not found.is_relative_to(objects.resolve()):
        raise BuildError(
            f"{path} is a link out of the object tree, to {found}",
            hint="the tree's makefiles made it: read the patch",
        )
    return found


def tree_count() -> int:
    """Return how many work trees a repository may have: ``HARNESS_TREES``, or by the CPUs.

    :raises SpecError: when the variable is no number from 1 on.
    """
    given = os.environ.get("HARNESS_TREES")
    if not given:
        return max(1, usable_cpus() // _CPUS)
    if not given.isdecimal() or int(given) < 1:
        raise SpecError(f"HARNESS_TREES must be a whole number from 1 on, not {given!r}")
    return int(given)


def object_tree(tree: Path, profile: str, cc: str = DEFAULT_CC) -> Path:
    """Return the directory of a profile's objects that belongs to a work tree.

    :param cc: the compiler; each has its own, since another one compiles all anew.
    """
    compiler = "" if cc == DEFAULT_CC else f"-{Path(cc).name}"
    return tree.parent / f"obj-{profile}{compiler}"


@contextlib.contextmanager
def work_tree(
    source: SourceTree, commit: str, store: Store, *, profile: str, cc: str = DEFAULT_CC
) -> Iterator[Path]:
    """Have *commit* checked out in a work tree that nobody else uses, in the block.

    :param profile: what is to be built, with *cc*.  Until the first work tree has built it once
        there is no other for it: many whole builds at once would take longer than one after the
        other.
    :raises SourceError: when git cannot.
    """
    objects = object_tree(source.repo, profile, cc)
    count = tree_count() if (objects / "vmlinux").exists() else 1
    names = {source.lock: source.repo}
    for number in range(2, count + 1):
        name = f"tree-{number}"
        names[f"{source.lock}-{name}"] = source.repo.parent / name / "src"
    with contextlib.ExitStack() as stack:
        name = stack.enter_context(store.lock_one(*names, waiting="it builds in the same tree"))
        tree = names[name]
        objects = object_tree(tree, profile, cc)
        for directory in (tree.parent, objects):
            stack.enter_context(store.using(directory))
        if not (tree / ".git").exists():
            # Twice forced: git may still know it from before it was deleted.
            words = ("worktree", "add", "--quiet", "-f", "-f", "--no-checkout", "--detach")
            git(source.repo, *words, tree, commit)
        check_out(tree, commit)
        # Begun anew it is another directory, and that one is in use.
        with _unbroken(objects), store.using(objects):
            yield tree


@contextlib.contextmanager
def _unbroken(objects: Path) -> Iterator[None]:
    """Begin an object tree anew when whoever used it last was killed.

    Make was killed with it, and had no time to remove what was half written.
    """
    state = state_directory(objects)
    used = state / "in-use"
    if used.exists():
        for directory in (objects, state):
            shutil.rmtree(directory, ignore_errors=True)
    state.mkdir(parents=True, exist_ok=True)
    used.touch()
    try:
        yield
    finally:
        used.unlink(missing_ok=True)


def git_directories(tree: Path) -> tuple[Path, ...]:
    """Return all that git goes by in a work tree: its ``.git``, and what that refers to.

    :raises CommandError: when it is no work tree.
    """
    words = ("rev-parse", "--path-format=absolute", "--git-common-dir")
    common = Path(git(tree, *words).stdout.strip())
    borrowed = common / "objects/info/alternates"
    lines = borrowed.read_text().splitlines() if borrowed.is_file() else []
    return (tree / ".git", common, *(Path(line) for line in lines))


def check_out(tree: Path, commit: str) -> None:
    """Bring a work tree to *commit*, touching only files that differ; call it under its lock.

    :raises SourceError: when git cannot.
    :raises InfrastructureError: when the disk is full.
    """
    try:
        lock = git(tree, "rev-parse", "--path-format=absolute", "--git-path", "index.lock")
        # Its work tree is ours, so whoever left this one is dead.
        Path(lock.stdout.strip()).unlink(missing_ok=True)
        git(tree, "checkout", "--quiet", "--force", "--detach", commit)
        git(tree, "clean", "-ffdxq")
    except CommandError as error:
        if error.cut_short:
            raise
        if "unable to write" in error.message:
            # All that git says when there is no room.
            full = shutil.disk_usage(tree).free < _LEAST_BYTES
            why = "the disk is full" if full else "the host"
            raise InfrastructureError(f"{why}: {tree}: {error.message}") from error
        raise SourceError(
            f"cannot check out {commit[:12]}: {error.message}",
            hint="'harness clean --all' drops the cached repositories",
        ) from error
