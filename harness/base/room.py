# SPDX-License-Identifier: GPL-2.0-only
"""How large the cache may become, and what of it goes: what was not used for longest.

There is one rule for everything in it.  It is taken in *parts*: entries, work directories, each
object tree and further work tree in them, downloads.  A part that somebody holds
(:meth:`harness.base.store.Store.hold`) stays, whatever the room.  Keys, what another tool bounds
(the compiler cache) and QEMUs count, and stay; Debian systems of scripts/host do not count.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import math
import os
import shutil
import stat
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from filelock import FileLock, Timeout

from harness.base.errors import SpecError
from harness.base.settings import SETTING
from harness.base.store import MANIFEST, Store

log = logging.getLogger(__name__)

ROOM_GIB = 20.0
"""Room for the cache when nobody says anything, where there is three times as much."""

_SIZES = "sizes.json"
"""The file below the cache's root that says how large the parts were, and when."""

_BESIDE = (".log", ".state")
"""Names behind that of an object tree, of what is noted about it (``harness.kernel.worktree``)."""

_GUESTS = ("hosts",)
"""What lies in the cache and is no part of it: systems of ``scripts/host``, which removes them.

For half an hour they hold 15 GB; counted, all builds would go to make room for them.
"""

_LITTER_S = 60.0
"""Seconds after which something in ``tmp/`` that nobody holds is a dead process's."""

_FOREIGN_S = 3600
"""Seconds between two walks through what others write: nothing on top of it says that it grew."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A part of the cache.

    :param kind: of an entry its kind, else the directory below the root that it is in.
    :param used: when it was last used, in seconds since the epoch.
    :param size_bytes: without the parts inside it.
    :param stays: whether it is never dropped to make room.
    """

    kind: str
    path: Path
    used: float
    size_bytes: int = 0
    stays: bool = False


def parts(store: Store) -> list[Part]:
    """Return the parts of a cache, oldest use first; a part comes after those inside it."""
    found = [*_entries(store.root), *_work(store.root), *_downloads(store.root)]
    found += _others(store.root)
    measured = _measured(store.root, found)
    return sorted(measured, key=lambda part: (part.used, -len(part.path.parts)))


def room_bytes(store: Store, holds_bytes: int) -> int:
    """Return how large a cache may become.

    What somebody sets is taken as it is.  Else it is 20 GiB, and no more than a third of what the
    cache could have: what is free where it is, and what it holds.

    :param holds_bytes: its size.
    :raises SpecError: when the setting is no number of GiB.
    """
    given = SETTING["room"].value(store.room)
    if given is not None:
        return gib(given)
    free = shutil.disk_usage(store.root).free
    return int(min(ROOM_GIB * 2**30, (free + holds_bytes) / 3))


def ccache_bytes(store: Store) -> int:
    """Return how large the compiler cache may become, which drops files by itself: a quarter.

    :raises SpecError: as from :func:`room_bytes`.
    """
    known = _known_sizes(store.root)
    return room_bytes(store, sum(size for _, size in known.values())) // 4


def gib(text: str) -> int:
    """Return a number of GiB in bytes.

    :raises SpecError: when it is none.
    """
    with contextlib.suppress(ValueError):
        if 0 <= float(text) < math.inf:
            return int(float(text) * 2**30)
    setting = SETTING["room"]
    raise SpecError(
        f"room must be a number of GiB, not {text!r}",
        hint=f"{setting.option}, {setting.plugin_option}, {setting.variable} and the ini file's "
        f"{setting.ini} set it",
    )


def make_room(store: Store, *, unused_days: float | None = None) -> list[Part]:
    """Drop what was not used for longest until the cache has no more than its room.

    Of several processes one does it, and the others go on.

    :param unused_days: drop what was not used for so many days before.
    :returns: what was dropped.
    :raises SpecError: as from :func:`room_bytes`.
    """
    lock = FileLock(store.root / "locks" / "room.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return []
    try:
        return _make_room(store, unused_days)
    finally:
        lock.release()


def drop(store: Store, part: Part) -> bool:
    """Drop a part, unless somebody holds it.

    :returns: whether it is gone.
    """
    doomed = store.root / "tmp" / f"doomed-{uuid.uuid4().hex[:8]}"
    try:
        descriptor = os.open(part.path, os.O_RDONLY)
    except OSError:
        return not part.path.exists()
    try:
        # Until it has another name; who waits for it then sees that it is not there.
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # What is noted about an object tree goes first: without the tree it would be wrong.
        for suffix in _BESIDE:
            _delete(part.path.with_name(part.path.name + suffix))
        part.path.rename(doomed)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    _delete(doomed)
    return True


def _make_room(store: Store, unused_days: float | None) -> list[Part]:
    sweep(store)
    found = parts(store)
    holds = sum(part.size_bytes for part in found)
    room = room_bytes(store, holds)
    horizon = -math.inf if unused_days is None else time.time() - unused_days * 86400
    dropped = []
    for part in found:
        if part.stays or (holds <= room and part.used >= horizon):
            continue
        if drop(store, part):
            holds -= part.size_bytes
            dropped.append(part)
            log.info("dropped from the cache: %s", part.path)
    if holds > room:
        log.info("the cache keeps %.1f GiB, more than its room: it is in use", holds / 2**30)
    return dropped


def sweep(store: Store) -> None:
    """Remove what killed processes left in ``tmp/``: nobody holds it."""
    for path in (store.root / "tmp").iterdir():
        with contextlib.suppress(OSError):
            if path.stat().st_mtime < time.time() - _LITTER_S:
                drop(store, Part(kind="tmp", path=path, used=0.0))


def _delete(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


# -- what there is ---------------------------------------------------------------------------


def _entries(root: Path) -> Iterator[Part]:
    for manifest in (root / "objects").glob(f"*/*/{MANIFEST}"):
        path = manifest.parent
        with contextlib.suppress(OSError):
            yield Part(kind=path.parent.name, path=path, used=manifest.stat().st_mtime)


def _work(root: Path) -> Iterator[Part]:
    """Yield work directories, and what in them can be had again without the rest."""
    for path in (root / "work").glob("*/"):
        inside = [*path.glob("obj-*/"), *path.glob("tree-*/"), *path.glob("tree-*/obj-*/")]
        inside = [each for each in inside if not each.name.endswith(_BESIDE)]
        used = {each: _used(each) for each in (path, *inside)}
        for each in used:
            # No older than what is in it, which goes first.
            last = max(when for other, when in used.items() if other.is_relative_to(each))
            yield Part(kind="work", path=each, used=last)


def _used(path: Path) -> float:
    """Return when a work directory was used: its time is set, and a build writes its log."""
    times = [0.0]
    for each in (path, path.with_name(f"{path.name}.log"), path / "src"):
        with contextlib.suppress(OSError):
            times.append(each.stat().st_mtime)
    return max(times)


def _downloads(root: Path) -> Iterator[Part]:
    for path in (root / "downloads").glob("[!.]*"):
        with contextlib.suppress(OSError):
            times = path.stat()
            yield Part(kind="downloads", path=path, used=max(times.st_atime, times.st_mtime))


def _others(root: Path) -> Iterator[Part]:
    for path in root.iterdir():
        if path.name not in ("objects", "work", "downloads", "tmp", _SIZES, *_GUESTS):
            yield Part(kind=path.name, path=path, used=math.inf, stays=True)


# -- how large it is -------------------------------------------------------------------------


def _measured(root: Path, found: Sequence[Part]) -> Iterator[Part]:
    """Yield the parts with their sizes; those that did not change are not walked through again."""
    known, now = _known_sizes(root), {}
    paths = {str(part.path) for part in found}
    for part in found:
        name, stamp = str(part.path.relative_to(root)), _stamp(part)
        before = known.get(name)
        if before is None or before[0] != stamp:
            before = (stamp, _size(str(part.path), paths))
        now[name] = before
        yield replace(part, size_bytes=before[1])
    if now != known:
        made = root / "tmp" / f"{_SIZES}-{uuid.uuid4().hex[:8]}"
        with contextlib.suppress(OSError):
            made.write_text(json.dumps(now) + "\n")
            made.replace(root / _SIZES)


def _known_sizes(root: Path) -> dict[str, tuple[int, int]]:
    """Return what was found before: to each part its stamp and its size in bytes."""
    try:
        known = json.loads((root / _SIZES).read_text())
        return {name: (int(stamp), int(size)) for name, (stamp, size) in known.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _stamp(part: Part) -> int:
    """Return what changes when a part does."""
    path = part.path
    if part.stays:
        return int(time.time() // _FOREIGN_S)
    times = [0]
    with contextlib.suppress(OSError):
        if (path / MANIFEST).exists():
            # An entry is another one, or the same for ever.
            return path.stat().st_ino
        times.append(path.stat().st_mtime_ns)
        # git takes its lock there, whatever it does.
        times.append((path / "src" / ".git").stat().st_mtime_ns)
    return max(times)


def _size(path: str, others: set[str]) -> int:
    """Return what a tree takes of the disk, in bytes, without the other parts inside it."""
    total, todo = 0, []
    with contextlib.suppress(OSError):
        top = os.lstat(path)
        total += top.st_blocks * 512
        todo += [path] if stat.S_ISDIR(top.st_mode) else []
    while todo:
        with contextlib.suppress(OSError), os.scandir(todo.pop()) as children:
            for child in children:
                if child.path not in others:
                    total += child.stat(follow_symlinks=False).st_blocks * 512
                    if child.is_dir(follow_symlinks=False):
                        todo.append(child.path)
    return total
