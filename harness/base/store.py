# SPDX-License-Identifier: GPL-2.0-only
"""The cache: content-addressed entries that appear whole or not at all.

Layout below the root (``HARNESS_CACHE``, else the user's cache directory)::

    objects/KIND/KEY/          one entry: the producer's files and manifest.json
    locks/KIND-KEY.lock        held while an entry is produced
    work/NAME/                 mutable directories (git trees, object trees), one lock each
    ccache/                    compiler cache
    tmp/                       entries in the making

An entry is made in ``tmp/`` and renamed into place, so a producer that is killed leaves none.
What is in use is known by a shared ``flock(2)`` on it (:meth:`Store.hold`, :meth:`Store.using`),
which ends with the process at the latest; :mod:`harness.base.room` drops nothing that is held.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import logging
import os
import pwd
import shutil
import stat
import threading
import uuid
import weakref
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

import platformdirs
from filelock import FileLock, Timeout

from harness import NAME
from harness.base import command, shared
from harness.base.errors import CacheError
from harness.base.progress import OnProgress, Progress
from harness.base.shared import file_sha256 as file_sha256

log = logging.getLogger(__name__)

MANIFEST = "manifest.json"
_PRIVATE = 0o700
_ANOTHER = "HARNESS_CACHE names another directory: each user has a cache of his own"
_DIRECTORIES = ("objects", "locks", "tmp", "work")
_OURS = {*_DIRECTORIES, "ccache", "downloads", "hosts", "keys", "qemu", "sizes.json", "lost+found"}
"""What may lie in a cache; with anything else in it the directory is not only a cache."""


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


def _acquire(locks: dict[str, FileLock], seconds: float) -> str | None:
    """Take the first of *locks* that is free, and return its name; ``None`` when none was."""
    for name, lock in locks.items():
        with contextlib.suppress(Timeout):
            lock.acquire(timeout=seconds / len(locks))
            return name
    return None


def _check_owner(root: Path) -> None:
    """Look whether the cache is the user's own.

    :raises CacheError: when it is another user's: what one makes the other could not drop, and
        templates hold what a guest had in memory.
    """
    owner = root.stat().st_uid
    if owner != os.geteuid():
        try:
            name = pwd.getpwuid(owner).pw_name
        except KeyError:
            name = f"number {owner}"
        raise CacheError(f"cannot use {root} as the cache: it is the user {name}'s", hint=_ANOTHER)


def _make_private(root: Path) -> None:
    """Let nobody else look into the cache; a directory that holds other things stays as it is."""
    ours = all(child.name in _OURS for child in root.iterdir())
    for path in ([root] if ours else []) + [root / name for name in _DIRECTORIES]:
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & ~_PRIVATE:
            path.chmod(mode & _PRIVATE)
            log.info("%s is for its owner alone now", path)


def _shared(path: Path) -> int | None:
    """Return a descriptor of *path* with a shared lock on it; ``None`` when it is not there."""
    while True:
        try:
            descriptor = os.open(path, os.O_RDONLY)
        except FileNotFoundError:
            return None
        # A file system without such locks has none that says "not in use" either.
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_SH)
        if _is(path, descriptor):
            return descriptor
        # It was dropped while we waited.
        os.close(descriptor)


def _is(path: Path, descriptor: int) -> bool:
    with contextlib.suppress(OSError):
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    return False


def _close_all(held: dict[Path, int]) -> None:
    while held:
        os.close(held.popitem()[1])


class Store:
    """The cache below one root directory; several processes may share it.

    :param root: its directory, made when missing.
    :param room: how large it may become, as the setting of that name has it; ``None`` is what the
        environment says.
    :ivar announce: told when another process has to be waited for.
    :raises CacheError: when the directory cannot be made.
    """

    def __init__(self, root: Path | None = None, *, room: str | None = None) -> None:
        self.root = (root or cache_root()).resolve()
        self.room = room
        self.announce: OnProgress = log.info
        self._held: dict[Path, int] = {}
        self._holding = threading.Lock()
        weakref.finalize(self, _close_all, self._held)
        try:
            self.root.mkdir(mode=_PRIVATE, parents=True, exist_ok=True)
            _check_owner(self.root)
            for name in _DIRECTORIES:
                (self.root / name).mkdir(mode=_PRIVATE, exist_ok=True)
            _make_private(self.root)
        except OSError as error:
            raise CacheError(
                f"cannot use {self.root} as the cache: {error.strerror}", hint=_ANOTHER
            ) from error

    @property
    def ccache(self) -> Path:
        """The compiler cache's directory."""
        return self.root / "ccache"

    def get(self, kind: str, key: str) -> Path | None:
        """Return the directory of an entry, ``None`` when there is none; it is held.

        :raises CacheError: when the entry is damaged: a file is missing, or one whose size or
            time differs from the manifest has another content than the manifest says.
        """
        path = self._path(kind, key)
        if not self.hold(path) and not self._take_shared(kind, key):
            return None
        self._verify(path)
        with contextlib.suppress(OSError):
            os.utime(path / MANIFEST)
        return path

    def _take_shared(self, kind: str, key: str) -> bool:
        """Have an entry of the shared store, if that has it."""
        if not shared.has(kind, key):
            return False
        try:
            with self.produce(kind, key) as directory:
                shared.fetch(kind, key, directory)
        except CacheError as error:
            log.warning("%s", error.message)
            return False
        return self.hold(self._path(kind, key))

    def hold(self, path: Path) -> bool:
        """Say that a file or directory of the cache is in use, for as long as this object lives.

        :returns: whether it is there.
        """
        with self._holding:
            held = self._held.get(path)
            if held is not None and _is(path, held):
                return True
            descriptor = _shared(path)
            if held is not None:
                os.close(self._held.pop(path))
            if descriptor is not None:
                self._held[path] = descriptor
            return descriptor is not None

    def let_go(self, path: Path) -> None:
        """Say that what :meth:`hold` or :meth:`get` held is in use no more."""
        with self._holding:
            if path in self._held:
                os.close(self._held.pop(path))

    @contextlib.contextmanager
    def using(self, directory: Path) -> Iterator[None]:
        """Have *directory*, and say that it is in use for the length of the block."""
        descriptor = None
        while descriptor is None:
            directory.mkdir(parents=True, exist_ok=True)
            descriptor = _shared(directory)
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                os.utime(directory)
            os.close(descriptor)

    @contextlib.contextmanager
    def produce(self, kind: str, key: str, *, unhashed: Collection[str] = ()) -> Iterator[Path]:
        """Make an entry: yield an empty directory to fill, and put it in place at the end.

        It takes the place of an entry that is there.  An exception leaves what was there.

        :param unhashed: files too large to read; that they are whole is seen from size and time.
        """
        making = self.root / "tmp" / f"{kind}-{key}-{uuid.uuid4().hex[:8]}"
        with self.using(making):
            try:
                yield making
                self._seal(making, unhashed)
                self._put(making, self._path(kind, key))
                shared.offer(kind, key, self._path(kind, key))
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
                if command.interrupted():
                    raise CacheError(f"interrupted while waiting: {what}")
                held = _acquire(locks, 0.5)
        try:
            yield held
        finally:
            locks[held].release()

    def work(self, name: str) -> Path:
        """Return a mutable directory of that name, held; use it only inside :meth:`lock`."""
        path = self.root / "work" / name
        path.mkdir(parents=True, exist_ok=True)
        while not self.hold(path):
            path.mkdir(parents=True, exist_ok=True)
        os.utime(path)
        return path

    def remove(self, kind: str, key: str) -> None:
        """Drop an entry; nothing happens when there is none."""
        # Renamed first, so that no reader ever meets half an entry.
        doomed = self.root / "tmp" / f"doomed-{uuid.uuid4().hex[:8]}"
        with contextlib.suppress(FileNotFoundError):
            self._path(kind, key).rename(doomed)
            shutil.rmtree(doomed, ignore_errors=True)

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
            status = child.stat()
            name = str(child.relative_to(path))
            files[name] = {
                "size": status.st_size,
                "mtime_ns": status.st_mtime_ns,
                "sha256": None if name in unhashed else file_sha256(child),
            }
        (path / MANIFEST).write_text(json.dumps({"files": files}, indent=1) + "\n")

    def _verify(self, path: Path) -> None:
        manifest = path / MANIFEST
        hint = f"remove {path} (or run 'harness clean') and run again: it will be made anew"
        try:
            files = dict(json.loads(manifest.read_text())["files"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CacheError(f"damaged cache entry: {manifest}: {error}", hint=hint) from error
        for name, want in files.items():
            child = path / name
            try:
                status = child.stat()
                same = status.st_size == want["size"] and (
                    status.st_mtime_ns == want["mtime_ns"]
                    or (want["sha256"] is not None and file_sha256(child) == want["sha256"])
                )
            except OSError as error:
                raise CacheError(f"damaged cache entry: {child}: {error}", hint=hint) from error
            except (ValueError, KeyError, TypeError) as error:
                raise CacheError(
                    f"damaged cache entry: {manifest}: what it says of {name!r} is no description "
                    "of a file",
                    hint=hint,
                ) from error
            if not same:
                raise CacheError(
                    f"damaged cache entry: {child} is not the file that was stored", hint=hint
                )
