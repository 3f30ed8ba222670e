# SPDX-License-Identifier: GPL-2.0-only
"""A kernel tree at its base commit: from a git tree, a tarball or a source package.

Whatever it comes from, it ends as a git repository of ours in the cache.  A user's tree is only
read: our repository borrows its objects (``git clone --shared``) and adds its own elsewhere.
"""

from __future__ import annotations

import contextlib
import logging
import re
import shlex
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from harness.base import command
from harness.base.errors import CommandError, DownloadError, SourceError
from harness.base.progress import OnProgress, Progress
from harness.base.room import make_room
from harness.base.spec import GitSpec, KernelSpec
from harness.base.store import Store, digest, file_sha256
from harness.base.text import duration
from harness.base.timeouts import HOST
from harness.kernel.download import fetch_package

log = logging.getLogger(__name__)

_IDENTITY = {
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_AUTHOR_NAME": "Harness",
    "GIT_AUTHOR_EMAIL": "harness@localhost",
    "GIT_AUTHOR_DATE": "@0 +0000",
    "GIT_COMMITTER_NAME": "Harness",
    "GIT_COMMITTER_EMAIL": "harness@localhost",
    "GIT_COMMITTER_DATE": "@0 +0000",
    "GIT_TERMINAL_PROMPT": "0",
    "LC_ALL": "C",
}
"""Commit ids depend on nothing of the user's: no configuration, no name, no date."""

_ARCHIVE_REF = "refs/harness/base"
"""The commit that an archive was imported as."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceTree:
    """A kernel at its base commit.

    :param repo: a repository in the cache; what is checked out is
        :mod:`harness.kernel.worktree`'s.
    :param base: the commit.
    :param tree: its git tree, which is the source's identity.
    :param version: such as ``7.0.13``, from the tree's Makefile.
    :param label: what it was made from, for people.
    :param public: whether others can know *base*: it is a commit of a git tree, not one that was
        made of an archive here.
    :param lock: the name of the lock on the repository's work tree.
    """

    repo: Path
    base: str
    tree: str
    version: str
    label: str
    public: bool
    lock: str


def git(
    repo: Path,
    *words: str | Path,
    check: bool = True,
    input: bytes | None = None,  # noqa: A002 - the name subprocess gives it
    timeout_s: float = HOST.git_s,
    env: dict[str, str] | None = None,
) -> command.Completed:
    """Run git in *repo*, free of the user's configuration, whoever *repo* belongs to.

    :raises CommandError: when it fails, unless *check* is off.
    """
    return command.run(
        ["git", *_trusting(repo), "-c", "gc.auto=0", "-C", repo, *words],
        timeout_s=timeout_s,
        env=_IDENTITY | (env or {}),
        input=input,
        check=check,
    )


def _trusting(*directories: Path) -> list[str]:
    """Return git's options that let it use repositories of other users: these and no others."""
    words = []
    for directory in directories:
        words += ["-c", f"safe.directory={directory.resolve()}"]
    return words


def from_local(path: Path) -> tuple[str, str]:
    """Return the option of ``git fetch`` and ``git clone`` that reads a repository of this host.

    What reads it is a program of its own, which takes no options from git.
    """
    found = git(path, "rev-parse", "--absolute-git-dir", check=False)
    # Of a further work tree git asks about the file that leads to its directory.
    places = (path / ".git", *(Path(line) for line in found.stdout.splitlines()))
    return "--upload-pack", shlex.join(["git", *_trusting(*places), "upload-pack"])


def open_source(
    spec: KernelSpec, store: Store, *, progress: OnProgress, update: bool = False
) -> SourceTree:
    """Return the tree that *spec* asks for, importing it when the cache has none.

    :param update: ask a remote branch for what is new; else it stays where it was fetched last, so
        that all that is done for one run is about one tree.
    :raises SourceError: when there is no kernel tree, or no such revision.
    :raises DownloadError: when the package or the branch cannot be fetched, or what came is not the
        pinned one.
    """
    if spec.package is not None:
        archive = fetch_package(spec.package, store, progress)
        return _open_archive(archive, spec.package.sha256, spec.what, store, progress)
    if spec.git is not None:
        return _open_remote(spec.git, spec.base, store, progress, update=update)
    path = spec.path
    assert path is not None  # noqa: S101 - KernelSpec has one of the three
    if path.is_dir():
        return _open_git(path, spec.base, store, progress)
    if not path.exists():
        raise SourceError(f"there is no {path}", hint="--kernel takes a git tree or an archive")
    if spec.base is not None:
        raise SourceError(f"{path} is an archive: it has no revisions", hint="leave --base out")
    progress(Progress(f"checking {path.name}"))
    return _open_archive(path, file_sha256(path), path.name, store, progress)


def imported_source(spec: KernelSpec, store: Store) -> SourceTree | None:
    """Return the tree of a pinned package or a remote branch if it is in the cache."""
    if spec.package is not None:
        name, ref = _archive_name(spec.package.sha256), _ARCHIVE_REF
    elif spec.git is not None:
        name, ref = _remote_name(spec.git), _remote_ref(spec.base or spec.git.branch)
    else:
        return None
    repo = store.root / "work" / name / "src"
    if not (repo / ".git").is_dir() or not store.hold(repo.parent):
        return None
    there = git(repo, "rev-parse", "-q", "--verify", ref, check=False)
    commit = there.stdout.strip()
    if there.returncode != 0:
        return None
    return _describe(repo, commit, spec.what, name, public=spec.git is not None)


# -- git trees -------------------------------------------------------------------------------


def _open_git(path: Path, base: str | None, store: Store, progress: OnProgress) -> SourceTree:
    top = git(path, "rev-parse", "--absolute-git-dir", check=False)
    if top.returncode != 0:
        above = re.search(r"dubious ownership in repository at '(.+)'", top.stderr)
        if above is not None:
            raise SourceError(f"{path} is not the top of a git tree", hint=f"give {above.group(1)}")
        raise SourceError(
            f"{path} is no git tree",
            hint="--kernel takes a git work tree, a tarball or a source package",
        )
    inside = git(path, "rev-parse", "--show-prefix", check=False).stdout.strip()
    if inside:
        raise SourceError(
            f"{path} is not the top of a git tree", hint=f"give the directory above {inside}"
        )
    revision = base or "HEAD"
    found = git(path, "rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}", check=False)
    if found.returncode != 0:
        raise SourceError(
            f"{path} has no revision {revision!r}", hint=f"git -C {path} log --oneline shows some"
        )
    commit = found.stdout.strip()
    if git(path, "status", "--porcelain", "-uno", check=False).stdout.strip():
        log.warning("%s has uncommitted changes; they are not part of what is tested", path)
    name = f"git-{digest('git', path.resolve().as_posix())}"
    with store.lock(name, waiting=f"it reads {path}"):
        work = store.work(name)
        repo = work / "src"
        if not (repo / ".git" / "harness-ready").exists():
            progress(Progress(f"borrowing the objects of {path}"))
            shutil.rmtree(repo, ignore_errors=True)
            words = ("--quiet", "--shared", "--no-checkout", *from_local(path))
            git(work, "clone", *words, path.resolve(), repo)
            (repo / ".git" / "harness-ready").touch()
        if git(repo, "cat-file", "-e", commit, check=False).returncode != 0:
            git(repo, "fetch", "--quiet", "--no-tags", *from_local(path), path.resolve(), commit)
        label = f"{path} at {revision} ({commit[:12]})"
        return _describe(repo, commit, label, name, public=True)


# -- branches of remote repositories ---------------------------------------------------------


def _open_remote(
    remote: GitSpec, base: str | None, store: Store, progress: OnProgress, *, update: bool
) -> SourceTree:
    name, wanted = _remote_name(remote), base or remote.branch
    with store.lock(name, waiting=f"it fetches {wanted}"):
        repo, ref = store.work(name) / "src", _remote_ref(wanted)
        if not (repo / ".git").exists():
            repo.mkdir(exist_ok=True)
            git(repo, "init", "--quiet")
        there = git(repo, "rev-parse", "-q", "--verify", ref, check=False)
        if update or there.returncode != 0:
            _fetch(remote, wanted, repo, ref, progress)
            make_room(store)
            there = git(repo, "rev-parse", "--verify", ref)
        commit = there.stdout.strip()
    return _describe(
        repo, commit, f"{remote.urls[0]} at {wanted} ({commit[:12]})", name, public=True
    )


def _remote_name(remote: GitSpec) -> str:
    return f"remote-{digest('remote', remote.branch, *remote.urls)[:32]}"


def _remote_ref(revision: str) -> str:
    return f"refs/harness/fetched/{digest('revision', revision)[:32]}"


def _fetch(remote: GitSpec, wanted: str, repo: Path, ref: str, progress: OnProgress) -> None:
    """Fetch one commit, without what came before it, from the first place that has it."""
    asked = []
    for url in remote.urls:
        progress(Progress(f"fetching {wanted} from {url}"))
        words = ("fetch", "--quiet", "--no-tags", "--depth=1", url, f"+{wanted}:{ref}")
        try:
            git(repo, *words)
        except CommandError as error:
            asked.append(f"{url}: {error.message}")
            continue
        return
    said = "\n  ".join(asked)
    raise DownloadError(
        f"cannot fetch {wanted}:\n  {said}",
        hint="clone it elsewhere, and name that directory with --kernel",
    )


# -- archives --------------------------------------------------------------------------------


def _open_archive(
    archive: Path, sha256: str, label: str, store: Store, progress: OnProgress
) -> SourceTree:
    name = _archive_name(sha256)
    repo = store.work(name) / "src"
    if (repo / ".git" / "harness-ready").exists():
        # Imported for good: whoever builds in it need not be waited for.
        base = git(repo, "rev-parse", _ARCHIVE_REF).stdout.strip()
        return _describe(repo, base, label, name, public=False)
    with store.lock(name, waiting=f"it imports {archive.name}"):
        work = store.work(name)
        if not (repo / ".git" / "harness-ready").exists():
            shutil.rmtree(work)
            store.work(name)
            try:
                _import(archive, repo, progress)
            except BaseException:
                shutil.rmtree(repo, ignore_errors=True)
                raise
            make_room(store)
        base = git(repo, "rev-parse", _ARCHIVE_REF).stdout.strip()
        return _describe(repo, base, label, name, public=False)


def _archive_name(sha256: str) -> str:
    return f"archive-{sha256[:32]}"


def _import(archive: Path, repo: Path, progress: OnProgress) -> None:
    """Unpack *archive* into *repo* and commit it."""
    started = time.monotonic()
    repo.mkdir()
    with _inner_tarball(archive, repo.parent, progress) as tarball:
        progress(Progress(f"unpacking {archive.name}"))
        try:
            command.run(
                ["tar", "-x", "--strip-components=1", "--no-same-owner", "-f", tarball],
                cwd=repo,
                timeout_s=HOST.git_s,
            )
        except CommandError as error:
            raise SourceError(
                f"{archive} cannot be unpacked: {error.message}", hint="is it cut short?"
            ) from error
    _assert_kernel(repo, archive)
    progress(Progress(f"importing {archive.name} into git"))
    git(repo, "init", "--quiet")
    for option in ("core.compression=0", "core.looseCompression=0", "core.fsync=none"):
        git(repo, "config", *option.split("="))
    git(repo, "add", "--all", "--force")
    git(repo, "commit", "--quiet", "--no-verify", "-m", f"Import {archive.name}")
    git(repo, "update-ref", _ARCHIVE_REF, "HEAD")
    (repo / ".git" / "harness-ready").touch()
    progress(Progress(f"imported {archive.name} in {duration(time.monotonic() - started)}"))


@contextlib.contextmanager
def _inner_tarball(archive: Path, directory: Path, progress: OnProgress) -> Iterator[Path]:
    """Yield the tarball: the archive itself, or the one that a source package carries."""
    if archive.suffix != ".deb":
        yield archive
        return
    progress(Progress(f"opening {archive.name}"))
    unpacked = directory / "package"
    try:
        try:
            command.run(["dpkg-deb", "-x", archive, unpacked], timeout_s=HOST.git_s)
        except CommandError as error:
            raise SourceError(
                f"{archive} is not a whole Debian package: {error.message}",
                hint="fetch it again",
            ) from error
        found = sorted(unpacked.glob("usr/src/linux-source-*.tar.*"))
        if not found:
            raise SourceError(f"{archive} holds no usr/src/linux-source-*.tar.*")
        yield found[0]
    finally:
        shutil.rmtree(unpacked, ignore_errors=True)


# -- both ------------------------------------------------------------------------------------


def _describe(repo: Path, commit: str, label: str, lock: str, *, public: bool) -> SourceTree:
    makefile = git(repo, "show", f"{commit}:Makefile", check=False)
    kconfig = git(repo, "cat-file", "-e", f"{commit}:Kconfig", check=False)
    version = _version(makefile.stdout)
    if makefile.returncode != 0 or kconfig.returncode != 0 or version is None:
        raise SourceError(
            f"{label} is no kernel tree: its top has no Makefile with a VERSION, or no Kconfig",
            hint="--kernel takes the top of a Linux tree",
        )
    tree = git(repo, "rev-parse", f"{commit}^{{tree}}").stdout.strip()
    return SourceTree(
        repo=repo,
        base=commit,
        tree=tree,
        version=version,
        label=label,
        public=public,
        lock=lock,
    )


def _assert_kernel(directory: Path, archive: Path) -> None:
    makefile = directory / "Makefile"
    text = makefile.read_text(errors="replace") if makefile.is_file() else ""
    if _version(text) is None or not (directory / "Kconfig").is_file():
        raise SourceError(
            f"{archive} holds no kernel tree: its top has no Makefile with a VERSION, "
            "or no Kconfig",
            hint="--kernel takes an archive of a whole Linux tree",
        )


def _version(makefile: str) -> str | None:
    """Return ``VERSION.PATCHLEVEL.SUBLEVEL`` and ``EXTRAVERSION`` of a kernel's top Makefile."""
    values = dict(
        re.findall(r"^(VERSION|PATCHLEVEL|SUBLEVEL|EXTRAVERSION)[ \t]*=[ \t]*(\S*)", makefile, re.M)
    )
    if not values.get("VERSION") or not values.get("PATCHLEVEL"):
        return None
    numbers = [values["VERSION"], values["PATCHLEVEL"], values.get("SUBLEVEL") or "0"]
    return f"{'.'.join(numbers)}{values.get('EXTRAVERSION', '')}"
