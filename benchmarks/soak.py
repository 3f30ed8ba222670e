# SPDX-License-Identifier: GPL-2.0-only
"""Doing the same again and again, and looking at what is left behind."""

from __future__ import annotations

import contextlib
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.gauge import Gauge, Values
from harness.base.errors import HarnessError
from harness.base.progress import Count, OnProgress, Progress
from harness.base.store import Store
from harness.guest.machine import Machine
from harness.guest.template import Templates
from harness.liveupdate.update import LiveUpdate, Memfd

CLONES = 200
UPDATES = 50

SETTLE_S = 5.0
"""Seconds that threads and processes that were told to end may take for it."""

MIB = 1 << 20

Clone = Callable[[Path], Machine]
"""Returns a machine that runs; its logs go to the directory."""

_POLL_S = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class Census:
    """What there is of this process.

    :param processes: children of it, and processes of whomever that name its temporary directory.
    :param files: in its temporary directory, and in the cache, its locks and entries included.
    :param descriptors: what it has open.
    """

    processes: int
    files: int
    descriptors: int
    threads: int

    @classmethod
    def take(cls, temporary: Path, cache: Path) -> Census:
        """Count.

        :param temporary: a directory that only this process uses.
        """
        own = str(temporary).encode()
        files = [*temporary.rglob("*"), *cache.glob("objects/*/*")]
        return cls(
            processes=sum(_is_ours(int(p.name), own) for p in Path("/proc").glob("[0-9]*")),
            files=len([*files, *cache.glob("tmp/*"), *cache.glob("locks/*")]),
            descriptors=len(list(Path("/proc/self/fd").iterdir())),
            threads=threading.active_count(),
        )

    def more_than(self, other: Census) -> dict[str, int]:
        """Return of what there is more than there was, and how much more."""
        names = ("processes", "files", "descriptors", "threads")
        more = {name: getattr(self, name) - getattr(other, name) for name in names}
        return {name: count for name, count in more.items() if count > 0}


def _is_ours(pid: int, named: bytes) -> bool:
    """Return whether a process is a child of this one, or says *named* on its command line."""
    try:
        directory = Path(f"/proc/{pid}")
        # proc(5): the name in parentheses may hold anything.
        parent = int((directory / "stat").read_text().rpartition(")")[2].split()[1])
        return parent == os.getpid() or named in (directory / "cmdline").read_bytes()
    except (OSError, ValueError, IndexError):
        return False  # it has just ended


class Watch:
    """Says what is left behind.

    :param cache: the root of the cache.
    :ivar left: what was, by kind, the most that was ever seen.
    """

    def __init__(self, temporary: Path, cache: Path) -> None:
        self._where = (temporary, cache)
        self._before = Census.take(*self._where)
        self.left: dict[str, int] = {}

    def look(self) -> int:
        """Return how many things are left; what is about to go gets :data:`SETTLE_S` for it."""
        deadline = time.monotonic() + SETTLE_S
        while more := Census.take(*self._where).more_than(self._before):
            if time.monotonic() > deadline:
                break
            time.sleep(_POLL_S)
        self.left |= {name: max(count, self.left.get(name, 0)) for name, count in more.items()}
        return sum(more.values())


@contextlib.contextmanager
def private_temporary(below: Path) -> Iterator[Path]:
    """Have temporary files made in a directory of their own while the block runs."""
    kept = tempfile.tempdir
    # Short: QEMU's sockets and pipes have their names there (unix(7): 108 bytes).
    with tempfile.TemporaryDirectory(prefix="soak-", dir=below) as name:
        tempfile.tempdir = name
        try:
            yield Path(name)
        finally:
            tempfile.tempdir = kept


def soak_gauges(templates_in: Callable[[Store], Templates], say: OnProgress) -> tuple[Gauge, ...]:
    """Return what clones and what updates machines many times.

    :param templates_in: returns the templates of a machine, kept in a certain cache: one that
        nobody else uses, or what others put there would count.
    """

    def gauge(name: str, soak: Callable[[Clone, Path, Path, OnProgress], list[int]]) -> Gauge:
        def measure(logs: Path) -> Values:
            store = Store(logs / "cache")
            templates = templates_in(store)

            def clone(log_dir: Path) -> Machine:
                return templates.start(log_dir).machine

            clone(logs / "first").close()
            return {name: soak(clone, logs, store.root, say)}

        return Gauge(figures=(name,), measure=measure, runs=1, alone=True)

    return (gauge("soak_clones", soak_clones), gauge("soak_updates", soak_updates))


def soak_clones(
    clone: Clone,
    logs: Path,
    cache: Path,
    say: OnProgress,
    *,
    times: int = CLONES,
) -> list[int]:
    """Clone machines one after the other; return how many things were left after each."""
    with private_temporary(logs) as temporary:
        watch, left = Watch(temporary, cache), []
        for number in range(times):
            with clone(logs / "machine") as machine:
                machine.must("ping")
            left.append(watch.look())
            _tell(say, "clones", number + 1, times, watch)
        return left


def soak_updates(
    clone: Clone,
    logs: Path,
    cache: Path,
    say: OnProgress,
    *,
    times: int = UPDATES,
) -> list[int]:
    """Live-update one machine again and again, each time with a memfd.

    :returns: how many things there were more after each update than after the first connection,
        and at last how many were left when the machine was gone.
    """
    with private_temporary(logs) as temporary:
        around, left = Watch(temporary, cache), []
        with clone(logs / "machine") as machine:
            machine.must("ping")
            watch = Watch(temporary, cache)
            for number in range(times):
                _update(machine, number)
                left.append(watch.look())
                _tell(say, "live updates", number + 1, times, watch)
        return [*left, around.look()]


def _update(machine: Machine, number: int) -> None:
    update = LiveUpdate(machine, f"soak {number}")
    update.preserve_memfds(Memfd(f"data {number}", size=MIB, seed=number + 1))
    update.execute()
    update.retrieve()
    update.verify()
    update.finish()
    if update.number != number + 1:
        raise HarnessError(f"live update {number + 1} says that it is number {update.number}")


def _tell(say: OnProgress, what: str, number: int, times: int, watch: Watch) -> None:
    if number % 10 == 0 or number == times:
        kinds = ", ".join(f"{count} {kind}" for kind, count in watch.left.items())
        count = Count(done=number, total=times, unit=what)
        say(Progress("soak", f"left behind: {kinds or 'nothing'}", count))
