# SPDX-License-Identifier: GPL-2.0-only
"""What a worker is besides Dask's: a cache, a suite, and the jobs that are under way.

Dask cannot end what runs in a thread.  It tells of every state that a task comes to, and a job
whose task nobody wants any more is interrupted here, as Ctrl-C would.
"""

from __future__ import annotations

import concurrent.futures
import logging
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from distributed import Reschedule, Worker, WorkerPlugin
from distributed.core import Status

from harness.base import command
from harness.base.errors import InfrastructureError
from harness.base.store import Store
from harness.base.timeouts import HOST
from harness.cluster.offer import Offer, why_full

log = logging.getLogger(__name__)

T = TypeVar("T")

NAME = "harness"
"""What Dask knows it by."""

_UNWANTED = ("cancelled", "released", "forgotten")
"""States of a task on a worker when nobody wants it there."""


class Host(WorkerPlugin):
    """The worker's side of a machine.

    :param suite: the suite that it has.
    :param qemu: its QEMU program, ``None`` is the one on ``PATH``.
    """

    name = NAME

    def __init__(self, store: Store, suite: Path, qemu: Path | None, offer: Offer) -> None:
        self.store = store
        self.suite = suite
        self.qemu = qemu
        self.offer = offer
        self._lock = threading.Lock()
        self._running: dict[str, threading.Thread | None] = {}
        self._left: dict[str, Path] = {}

    # -- what Dask tells -----------------------------------------------------------------------

    def setup(self, worker: Worker) -> None:
        """Begin."""
        log.info("a worker of %s", worker.scheduler.address)

    def teardown(self, worker: Worker) -> None:  # noqa: ARG002 - Dask's
        """End everything that is under way: the worker goes, or its scheduler has given it up."""
        with self._lock:
            threads = [thread for thread in self._running.values() if thread is not None]
        for thread in threads:
            command.interrupt(thread)
        for key in tuple(self._left):
            self._forget(key)

    def transition(self, key: Any, start: Any, finish: Any, **_more: Any) -> None:
        """See that what nobody wants any more ends."""
        if finish == "executing":
            with self._lock:
                self._running.setdefault(str(key), None)
        elif finish in _UNWANTED and start in ("executing", "long-running"):
            with self._lock:
                thread = self._running.pop(str(key), None)
            if thread is not None:
                log.info("nobody wants %s any more", key)
                command.interrupt(thread)
        elif start == "executing":
            with self._lock:
                self._running.pop(str(key), None)
        elif finish in _UNWANTED:
            self._forget(str(key))

    def facts(self, worker: Worker) -> dict[str, Any]:
        """Return what every heartbeat tells; a worker whose disk is full takes no jobs."""
        full = why_full(self.store)
        if full is not None and worker.status is Status.running:
            log.warning("%s: no jobs are taken", full)
            worker.status = Status.paused
        elif full is None and worker.status is Status.paused:
            worker.status = Status.running
        return self.offer.facts | {"full": full, "cache": str(self.store.root)}

    # -- what jobs do --------------------------------------------------------------------------

    def do(self, key: str, work: Callable[[], T], deadline_s: float) -> T:
        """Do the work of a task in a thread that can be interrupted.

        :raises InfrastructureError: when it does not end in time.
        :raises Reschedule: when the task is not wanted; should it be wanted again after all, it
            has to be done again.
        """
        done: concurrent.futures.Future[T] = concurrent.futures.Future()

        def run() -> None:
            try:
                done.set_result(work())
            except BaseException as error:  # noqa: BLE001 - it is raised where the task waits
                done.set_exception(error)

        thread = threading.Thread(target=run, name=key, daemon=True)
        with self._lock:
            if key not in self._running:
                raise Reschedule
            self._running[key] = thread
        thread.start()
        try:
            found = done.result(deadline_s)
        except TimeoutError:
            if done.done():
                raise
            command.interrupt(thread)
            thread.join(HOST.unwind_s)
            raise InfrastructureError(f"it did not end within {deadline_s:.0f} s") from None
        finally:
            with self._lock:
                wanted = self._running.pop(key, None) is thread
            if not wanted:
                raise Reschedule
        return found

    def leave(self, key: str, directory: Path) -> None:
        """Keep a directory as long as the task's result is wanted."""
        # The job's own hold on it ends with the job.
        self.store.hold(directory)
        with self._lock:
            self._left[key] = directory

    def _forget(self, key: str) -> None:
        with self._lock:
            directory = self._left.pop(key, None)
        if directory is not None:
            self.store.let_go(directory)
            self.drop(directory)

    @staticmethod
    def drop(directory: Path) -> None:
        """Remove what a job has left."""
        shutil.rmtree(directory, ignore_errors=True)
