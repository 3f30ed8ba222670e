# SPDX-License-Identifier: GPL-2.0-only
"""A user's kernel tree on its way to a worker: one commit of it, as a git bundle.

What came before that commit stays where it is.  Where both sides have the kernel that the suite
pins by content, only what differs from that one travels.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from harness.base.errors import InfrastructureError
from harness.base.progress import OnProgress, Progress
from harness.base.spec import KernelSpec, load_kernels
from harness.base.store import Store
from harness.base.suite import Suite, load_suite
from harness.cluster.job import SentTree
from harness.cluster.transfer import cut, join
from harness.kernel.source import SourceTree, git, imported_source, open_source

_REF = "refs/heads/sent"


def pinned_kernel(suite: Suite) -> KernelSpec | None:
    """Return the kernel that the suite pins by content, ``None`` when it pins none."""
    found = load_kernels().get(suite.kernel or "")
    return found if found is not None and found.package is not None else None


def bundle_tree(source: SourceTree, suite: Suite, store: Store) -> tuple[SentTree, Iterator[bytes]]:
    """Return a tree as it is sent, and its pieces.

    :raises CommandError: when git fails.
    """
    spec = pinned_kernel(suite)
    pinned = imported_source(spec, store) if spec is not None else None
    with tempfile.TemporaryDirectory(prefix="bundle-", dir=store.root / "tmp") as name:
        repo, file = Path(name) / "repo", Path(name) / "bundle"
        repos = [source.repo, *([pinned.repo] if pinned is not None else [])]
        _make_repo(repo, repos, source.base)
        git(repo, "update-ref", _REF, source.base)
        git(
            repo,
            *("bundle", "create", "--quiet", file, _REF),
            *([f"^{pinned.base}"] if pinned is not None else []),
        )
        parcel, pieces = cut(file)
        sent = SentTree(commit=source.base, parcel=parcel, thin=pinned is not None)
        return sent, iter(list(pieces))


def open_sent_tree(
    sent: SentTree,
    pieces: Sequence[bytes],
    suite: Path,
    store: Store,
    *,
    progress: OnProgress,
) -> Path:
    """Return the repository with a tree that was sent; it is made when the cache has none.

    :param suite: the suite of this machine, which pins the same kernel.
    :raises InfrastructureError: when what was sent is not whole.
    """
    name = f"sent-{sent.commit}"
    with store.lock(name, waiting="it unpacks a tree"):
        work = store.work(name)
        repo, ready = work / "repo", work / "ready"
        if ready.exists():
            return repo
        progress(Progress(f"unpacking {sent.commit[:12]}"))
        repos = []
        if sent.thin:
            spec = pinned_kernel(load_suite(suite))
            assert spec is not None  # noqa: S101 - it is the same suite
            repos = [open_source(spec, store, progress=progress).repo]
        _make_repo(repo, repos, sent.commit)
        with tempfile.NamedTemporaryFile(dir=work) as file:
            join(sent.parcel, pieces, Path(file.name))
            git(repo, "fetch", "--quiet", "--no-tags", file.name, f"+{_REF}:{_REF}")
        found = git(repo, "rev-parse", _REF).stdout.strip()
        if found != sent.commit:
            raise InfrastructureError(f"the tree that was sent is {found}, not {sent.commit}")
        git(repo, "symbolic-ref", "HEAD", _REF)
        ready.touch()
        return repo


def _make_repo(repo: Path, borrowed: Sequence[Path], commit: str) -> None:
    """Make a repository that has the objects of others, and in which *commit* has no parents."""
    repo.mkdir(exist_ok=True)
    git(repo, "init", "--quiet", "--bare")
    objects = [
        str(Path(git(each, "rev-parse", "--absolute-git-dir").stdout.strip()) / "objects")
        for each in borrowed
    ]
    (repo / "objects" / "info").mkdir(exist_ok=True)
    (repo / "objects" / "info" / "alternates").write_text("".join(f"{o}\n" for o in objects))
    (repo / "shallow").write_text(f"{commit}\n")
