# SPDX-License-Identifier: GPL-2.0-only
"""A cluster, for one who has cells for it: tasks, what is sent along, and what is told of them.

What Dask does is not done again here: it looks for a worker with room, and gives a task of a lost
worker to another.
"""

from __future__ import annotations

import contextlib
import logging
import pickle
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from distributed import Client, Future, KilledWorker
from distributed.client import FutureCancelledError

from harness.base.errors import InfrastructureError
from harness.base.progress import OnProgress
from harness.base.store import Store
from harness.base.timeouts import HOST
from harness.cluster import work
from harness.cluster.job import (
    Answer,
    SentTree,
)
from harness.cluster.outcome import outcome
from harness.cluster.transfer import Part
from harness.cluster.tree import bundle_tree
from harness.cluster.workers import WorkerFacts, check_needs, fitting, read_workers
from harness.run.pipeline import Pipeline

log = logging.getLogger(__name__)

_LOST = (KilledWorker, FutureCancelledError)


class Cluster:
    """A cluster that cells are run on.

    :param client: of Dask; it is the caller's.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._run = uuid.uuid4().hex[:12]
        self._lock = threading.RLock()
        self._telling = threading.Lock()
        self._said: dict[str, OnProgress] = {}
        self._kernels: dict[str, Future[Any]] = {}
        self._sent: dict[str, Future[Any]] = {}
        self._trees: dict[str, SentTree] = {}
        self._left_out: set[str] = set()
        self._looking = threading.Lock()
        self._workers: tuple[WorkerFacts, ...] = ()
        self._look_again = 0.0
        client.subscribe_topic(self.topic, self._on_said)

    @property
    def topic(self) -> str:
        return f"harness-{self._run}"

    def workers(self) -> tuple[WorkerFacts, ...]:
        """Return the workers that there are.

        :raises InfrastructureError: when the scheduler does not answer.
        """
        try:
            return read_workers(self._client.scheduler_info(n_workers=-1))
        except (OSError, TimeoutError, ValueError) as error:
            raise InfrastructureError(f"the scheduler is gone: {_first_line(error)}") from error

    def _seen(self) -> tuple[WorkerFacts, ...]:
        """Return the workers as they were a moment ago.

        Every cell that waits looks at them; what the scheduler tells grows with their number.
        """
        with self._looking:
            if time.monotonic() >= self._look_again:
                self._workers = self.workers()
                self._look_again = time.monotonic() + HOST.poll_s
            return self._workers

    def parallel(self) -> int:
        """Return how many cells are worth having under way: one for each guest, one to build."""
        return sum(worker.guests for worker in self.workers() if worker.takes) + 1

    # -- tasks ---------------------------------------------------------------------------------

    def task(
        self, function: Any, *arguments: Any, key: str, needs: Mapping[str, float], **more: Any
    ) -> Future[Any]:
        """Let a worker do something.

        :param needs: of what it has to have how much.
        """
        return self._client.submit(
            function, *arguments, key=key, resources=dict(needs), pure=False, **more
        )

    def kernel(self, key: str, make: Any) -> Future[Any]:
        """Return the task of a kernel; *make* makes it when nobody here has asked for it."""
        with self._lock:
            if key not in self._kernels:
                self._kernels[key] = make()
            return self._kernels[key]

    def send(self, key: str, data: object) -> Future[Any]:
        """Let the cluster have some data, once."""
        with self._lock:
            if key not in self._sent:
                self._sent[key] = self._client.submit(
                    work.as_it_is, data, key=key, priority=10, pure=False
                )
            return self._sent[key]

    def send_tree(self, pipeline: Pipeline, store: Store) -> tuple[SentTree, list[Future[Any]]]:
        """Let the cluster have a user's tree, once."""
        commit = pipeline.source.base
        with self._lock:
            known = self._trees.get(commit)
            if known is None:
                known, pieces = bundle_tree(pipeline.source, pipeline.suite, store)
                for sha256, piece in zip(known.parcel.sha256, pieces, strict=True):
                    self.send(f"piece-{sha256}", piece)
                self._trees[commit] = known
        return known, [self._sent[f"piece-{sha256}"] for sha256 in known.parcel.sha256]

    def wait(self, future: Future[Any], needs: Mapping[str, float], what: str) -> Any:
        """Wait for a task, and return what came of it; it is given up when that is interrupted.

        :raises InfrastructureError: when there is no worker for it any more, or nothing comes.
        """
        without_since: float | None = None

        def look() -> None:
            nonlocal without_since
            if fitting(self._seen(), needs):
                without_since = None
            elif without_since is None:
                without_since = time.monotonic()
            elif time.monotonic() - without_since > HOST.worker_s:
                check_needs(self._seen(), needs, what)

        return self._outcome(future, look, what)

    def _outcome(self, future: Future[Any], look: Callable[[], None], what: str) -> Any:
        try:
            return outcome(future, look, what)
        except _LOST as error:
            raise InfrastructureError(
                f"no worker lived to {what}: {_first_line(error)}",
                hint="their logs say what became of them",
            ) from error
        except BaseException:
            with contextlib.suppress(Exception):
                self._client.cancel([future])
            raise

    def read(self, answer: Answer, parts: Sequence[Part]) -> bytes:
        """Return parts of the files that a task has left on its worker.

        :raises InfrastructureError: when they are not there any more, or the worker is gone.
        """
        future = self._client.submit(
            work.hand_over,
            answer.directory,
            parts,
            workers=[answer.address],
            priority=10,
            pure=False,
        )

        def look() -> None:
            if not self.has(answer.address):
                raise InfrastructureError(f"{answer.worker} is gone, and the results with it")

        return bytes(self._outcome(future, look, "hand over results"))

    def has(self, address: str) -> bool:
        """Return whether there is a worker at an address."""
        return any(worker.address == address for worker in self._seen())

    def check(self, needs: Mapping[str, float], what: str) -> None:
        """Look whether a worker can do something, and tell once of those that never can.

        :raises InfrastructureError: when none can.
        """
        workers = self.workers()
        check_needs(workers, needs, what)
        for worker in workers:
            why = worker.why_not({n: 1 for n in needs if n.startswith(("version:", "toolchain:"))})
            if why is not None and worker.name not in self._left_out:
                self._left_out.add(worker.name)
                log.warning("%s is left out: %s", worker.name, why)

    # -- progress ------------------------------------------------------------------------------

    @contextlib.contextmanager
    def told(self, keys: Sequence[str], progress: OnProgress) -> Iterator[None]:
        """Have *progress* told what is said of tasks, in the block."""
        with self._telling:
            self._said |= dict.fromkeys(keys, progress)
        try:
            yield
        finally:
            with self._telling:
                for key in keys:
                    if self._said.get(key) is progress:
                        del self._said[key]

    def _on_said(self, event: tuple[float, Any]) -> None:
        said = event[1]
        with self._telling:
            progress = self._said.get(said["task"])
        if progress is not None:
            progress(pickle.loads(said["said"]))  # noqa: S301 - so does Dask with every result


def _first_line(error: BaseException) -> str:
    return str(error).partition("\n")[0]
