# SPDX-License-Identifier: GPL-2.0-only
"""The cache: content-addressed entries that appear whole or not at all.

Layout below the root (``HARNESS_CACHE``, else the user's cache directory)::

    objects/KIND/KEY/          one entry: the producer's files and manifest.json
    locks/KIND-KEY.lock        held while an entry is produced
    work/NAME/                 mutable directories (git trees, object trees), one lock each
    ccache/                    compiler cache
    tmp/                       entries in the making

An entry is made in ``tmp/`` and renamed into place, so a producer that is killed leaves none.
What it leaves in ``tmp/`` is swept by the next one, which knows it by the lock nobody holds.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import logging
import os
import shutil
import threading
import time
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import platformdirs
from filelock import FileLock, Timeout

from harness import NAME
from harness.base.errors import CacheError
from harness.base.progress import OnProgress, Progress

log = logging.getLogger(__name__)

MANIFEST = "manifest.json"
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One entry as :meth:`Store.entries` lists it.

    :param used: when it was last asked for, in seconds since the epoch.
    """

    kind: str
    key: str
    path: Path
    size_bytes: int
    used: float


def cache_root() -> Path:
    """Return where the cache lives: ``HARNESS_CACHE``, else below the user's cache directory."""
    configured = os.environ.get("HARNESS_CACHE")
    return Path(configured) if configured else platformdirs.user_cache_path(NAME)


def digest(*parts: object) -> str:
    """Return a key for *parts*: 32 hex digits over their text, each length-prefixed.

    A :class:`pathlib.Path` counts by the content of the file or directory tree that it names,
    never by its name (documentation in a tree, ``*.md``, does not count); everything else by
    ``str()``.
    """
    total = hashlib.sha256()
    for part in parts:
        data = _path_digest(part) if isinstance(part, Path) else str(part).encode()
        total.update(len(data).to_bytes(8, "little"))
        total.update(data)
    return total.hexdigest()[:32]


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file's content in hex.

    :raises OSError: when it cannot be read.
    """
    total = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            total.update(chunk)
    return total.hexdigest()


def _path_digest(path: Path) -> bytes:
    if path.is_dir():
        total = hashlib.sha256()
        for child in sorted(p for p in path.rglob("*") if p.is_file() and not _is_litter(p)):
            mode = child.stat().st_mode & 0o111
            line = f"{child.relative_to(path)}\0{mode}\0{file_sha256(child)}\n"
            total.update(line.encode())
        return total.digest()
    return file_sha256(path).encode()


def _is_litter(path: Path) -> bool:
    return "__pycache__" in path.parts or path.suffix == ".md"


interrupted = threading.Event()
"""Set when threads are to wait for no lock any more: an interrupt reaches the main one alone."""


def _acquire(locks: dict[str, FileLock], seconds: float) -> str | None:
    """Take the first of *locks* that is free, and return its name; ``None`` when none was."""
    for name, lock in locks.items():
        with contextlib.suppress(Timeout):
            lock.acquire(timeout=seconds / len(locks))
            return name
    return None


class Store:
    """The cache below one root directory; several processes may share it.

    :param root: its directory, made when missing.
    :ivar announce: told when another process has to be waited for.
    :raises CacheError: when the directory cannot be made.
    """

    def __init__(self, root: Path | None = None) -> None:
        self.root = (root or cache_root()).resolve()
        self.announce: OnProgress = log.info
        try:
            for name in ("objects", "locks", "tmp", "work"):
                (self.root / name).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CacheError(
                f"cannot use {self.root} as the cache: {error.strerror}",
                hint="HARNESS_CACHE names another directory",
            ) from error

    @property
    def ccache(self) -> Path:
        """The compiler cache's directory."""
        return self.root / "ccache"

    def get(self, kind: str, key: str) -> Path | None:
        """Return the directory of an entry, ``None`` when there is none.

        :raises CacheError: when the entry is damaged: a file is missing, or one whose size or
            time differs from the manifest has another content than the manifest says.
        """
        path = self._path(kind, key)
        if not path.is_dir():
            return None
        self._verify(path)
        with contextlib.suppress(OSError):
            os.utime(path / MANIFEST)
        return path

    @contextlib.contextmanager
    def produce(self, kind: str, key: str, *, unhashed: Collection[str] = ()) -> Iterator[Path]:
        """Make an entry: yield an empty directory to fill, and put it in place at the end.

        It takes the place of an entry that is there.  An exception leaves what was there.

        :param unhashed: files too large to read; that they are whole is seen from size and time.
        """
        making = self.root / "tmp" / f"{kind}-{key}-{uuid.uuid4().hex[:8]}"
        making.mkdir(parents=True)
        try:
            yield making
            self._seal(making, unhashed)
            self._put(making, self._path(kind, key))
        finally:
            shutil.rmtree(making, ignore_errors=True)

    def get_or_make(
        self,
        kind: str,
        key: str,
        make: Callable[[Path], None],
        *,
        waiting: str | None = None,
        unhashed: Collection[str] = (),
    ) -> Path:
        """Return the directory of an entry; *make* fills it when there is none.

        Of several processes that ask for the same entry one makes it, and the others wait.

        :param waiting: as for :meth:`lock`.
        :param unhashed: as for :meth:`produce`.
        :raises CacheError: as from :meth:`get`; an entry that is damaged is not made anew.
        """
        found = self.get(kind, key)
        if found is None:
            with self.lock(f"{kind}-{key}", waiting=waiting):
                found = self.get(kind, key)
                if found is None:
                    with self.produce(kind, key, unhashed=unhashed) as directory:
                        make(directory)
                    found = self.get(kind, key)
        if found is None:
            raise CacheError(
                f"{self._path(kind, key)} was removed while it was made",
                hint="something else cleans the cache: let it end, and run again",
            )
        return found

    @contextlib.contextmanager
    def lock(self, name: str, *, waiting: str | None = None) -> Iterator[None]:
        """Hold the lock called *name*; other processes wait.

        :param waiting: what to tell the user when somebody else holds it, or ``None``.
        """
        with self.lock_one(name, waiting=waiting):
            yield

    @contextlib.contextmanager
    def lock_one(self, *names: str, waiting: str | None = None) -> Iterator[str]:
        """Hold one of the locks called *names*, the first that is free, and yield its name.

        :param waiting: as for :meth:`lock`.
        """
        locks = {name: FileLock(self.root / "locks" / f"{name}.lock") for name in names}
        held = _acquire(locks, 0.2)
        if held is None:
            what = waiting or names[0]
            self.announce(Progress("waiting for another process", what))
            while held is None:
                if interrupted.is_set():
                    raise CacheError(f"interrupted while waiting: {what}")
                held = _acquire(locks, 0.5)
        try:
            yield held
        finally:
            locks[held].release()

    def work(self, name: str) -> Path:
        """Return a mutable directory of that name; use it only inside :meth:`lock`."""
        path = self.root / "work" / name
        path.mkdir(parents=True, exist_ok=True)
        return path

    def entries(self, kind: str = "*") -> Iterator[Entry]:
        """List the entries of a kind, all without one, oldest use first."""
        found: list[Entry] = []
        for manifest in (self.root / "objects").glob(f"{kind}/*/{MANIFEST}"):
            path = manifest.parent
            with contextlib.suppress(OSError):
                found.append(
                    Entry(
                        kind=path.parent.name,
                        key=path.name,
                        path=path,
                        size_bytes=_tree_size([path]),
                        used=manifest.stat().st_mtime,
                    )
                )
        yield from sorted(found, key=lambda entry: entry.used)

    def other_sizes(self) -> dict[str, int]:
        """Return the sizes in bytes of trees, compiler cache and downloads: they are no entries."""
        names = ("work", "ccache", "downloads")
        return {name: _tree_size([self.root / name]) for name in names}

    def remove(self, kind: str, key: str) -> None:
        """Drop an entry; nothing happens when there is none."""
        # Renamed first, so that no reader ever meets half an entry.
        doomed = self.root / "tmp" / f"doomed-{uuid.uuid4().hex[:8]}"
        with contextlib.suppress(FileNotFoundError):
            self._path(kind, key).rename(doomed)
            shutil.rmtree(doomed, ignore_errors=True)

    def sweep(self, older_than_s: float = 86400.0) -> int:
        """Remove what killed producers left in ``tmp/``; return how many."""
        horizon = time.time() - older_than_s
        count = 0
        for path in (self.root / "tmp").iterdir():
            with contextlib.suppress(OSError):
                if path.stat().st_mtime < horizon:
                    shutil.rmtree(path, ignore_errors=True)
                    count += 1
        return count

    def _put(self, made: Path, target: Path) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        while True:
            self.remove(target.parent.name, target.name)
            try:
                made.rename(target)
            except OSError as error:
                # Another process put the same entry there between the two steps.
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
            else:
                return

    def _path(self, kind: str, key: str) -> Path:
        return self.root / "objects" / kind / key

    @staticmethod
    def _seal(path: Path, unhashed: Collection[str]) -> None:
        files = {}
        for child in sorted(p for p in path.rglob("*") if p.is_file() and not p.is_symlink()):
            stat = child.stat()
            name = str(child.relative_to(path))
            files[name] = {
                "size": stat.st_size,
                "mtime_ns": stat.st_mtime_ns,
                "sha256": None if name in unhashed else file_sha256(child),
            }
        (path / MANIFEST).write_text(json.dumps({"files": files}, indent=1) + "\n")

    def _verify(self, path: Path) -> None:
        manifest = path / MANIFEST
        hint = f"remove {path} (or run 'harness clean') and run again: it will be made anew"
        try:
            files = json.loads(manifest.read_text())["files"]
        except (OSError, ValueError, KeyError) as error:
            raise CacheError(f"damaged cache entry: {manifest}: {error}", hint=hint) from error
        for name, want in files.items():
            child = path / name
            try:
                stat = child.stat()
                same = stat.st_size == want["size"] and (
                    stat.st_mtime_ns == want["mtime_ns"]
                    or (want["sha256"] is not None and file_sha256(child) == want["sha256"])
                )
            except OSError as error:
                raise CacheError(f"damaged cache entry: {child}: {error}", hint=hint) from error
            if not same:
                raise CacheError(
                    f"damaged cache entry: {child} is not the file that was stored", hint=hint
                )


def to_prune(
    entries: Iterable[Entry], *, unused_days: float | None = None, max_gib: float | None = None
) -> list[Entry]:
    """Return the entries to drop.

    :param entries: oldest use first, as :meth:`Store.entries` lists them.
    :param unused_days: those that were not used for so many days.
    :param max_gib: and then those that were not used for longest, until no more is left than this.
    """
    kept, doomed = list(entries), []
    if unused_days is not None:
        horizon = time.time() - unused_days * 86400
        doomed = [entry for entry in kept if entry.used < horizon]
        kept = [entry for entry in kept if entry.used >= horizon]
    if max_gib is not None:
        total = sum(entry.size_bytes for entry in kept)
        for entry in kept:
            if total <= max_gib * 2**30:
                break
            doomed.append(entry)
            total -= entry.size_bytes
    return doomed


def _tree_size(paths: Iterable[Path]) -> int:
    return sum(
        child.stat().st_blocks * 512
        for path in paths
        for child in path.rglob("*")
        if child.is_file() and not child.is_symlink()
    )
