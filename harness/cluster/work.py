# SPDX-License-Identifier: GPL-2.0-only
"""What a worker does: it builds kernels, tests cells, and hands over what came of it.

Each function here is a task of Dask's.  A test does not depend on the tasks of its kernels: Dask
would give it to the worker that has them, however long that is busy.
"""

from __future__ import annotations

import dataclasses
import logging
import pickle
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from distributed import Reschedule, get_client, get_worker

from harness.base.errors import HarnessError, InfrastructureError
from harness.base.progress import OnProgress, Progress
from harness.base.spec import KernelSpec, Target
from harness.base.store import Store, digest
from harness.base.suite import load_suite
from harness.base.text import plural
from harness.base.trouble import trouble_of_host
from harness.cluster.host import NAME, Host
from harness.cluster.job import Answer, Built, Files, Job, Trouble
from harness.cluster.offer import why_full
from harness.cluster.outcome import outcome
from harness.cluster.transfer import Part, list_files, read_parts, receive
from harness.cluster.tree import open_sent_tree
from harness.cluster.version import version_of
from harness.kernel.build import KernelBuild
from harness.results.records import CellStatus
from harness.run.cell import Cell, CellResult
from harness.run.executor import build_cell, run_cell
from harness.run.pipeline import Pipeline

log = logging.getLogger(__name__)

_BUILD = "build"
"""What the cache calls entries of builds."""


def as_it_is(data: Any) -> Any:
    """Return what was sent, so that Dask has it, and has it again when a worker is lost."""
    return data


def build(job: Job, files: Files, pieces: Sequence[bytes]) -> Built | Answer:
    """Build a kernel, unless the cache has it."""

    def work(task: _Task) -> Built | Answer:
        made = build_cell(task.cell, store=task.store, directory=task.directory, progress=task.say)
        if isinstance(made, CellResult):
            return task.answer(made)
        return task.built(made)

    return _Task(job, files, pieces).do(work)


def test(
    job: Job, files: Files, pieces: Sequence[bytes], kernels: Sequence[Built], fresh: bool
) -> Answer:
    """Test a cell.

    :param pieces: of the tree that was sent along.
    :param kernels: what :func:`build` came to for those that its tests boot.
    :param fresh: as for :func:`harness.run.executor.run_cell`.
    """

    def work(task: _Task) -> Answer:
        for kernel in kernels:
            task.fetch(kernel)
        result = run_cell(
            task.cell, store=task.store, directory=task.directory, progress=task.say, fresh=fresh
        )
        return task.answer(result)

    found = _Task(job, files, pieces).do(work)
    assert isinstance(found, Answer)  # noqa: S101 - so is what work() returns
    return found


def hand_over(directory: Path, parts: Sequence[Part]) -> bytes:
    """Return parts of files that a task of this worker has left.

    :raises InfrastructureError: when they are not there any more.
    """
    try:
        return read_parts(directory, parts)
    except OSError as error:
        raise InfrastructureError(f"{error.filename}: {error.strerror}") from None


def hand_over_build(key: str, parts: Sequence[Part]) -> bytes:
    """Return parts of a kernel in this worker's cache.

    :raises InfrastructureError: when it is there no more.
    """
    entry = _host().store.get(_BUILD, key)
    if entry is None:
        raise InfrastructureError(f"the kernel {key} was dropped from the cache")
    return hand_over(entry, parts)


def _host() -> Host:
    found = get_worker().plugins[NAME]
    assert isinstance(found, Host)  # noqa: S101 - so it is added
    return found


class _Task:
    """A job on the worker that does it."""

    def __init__(self, job: Job, files: Files, pieces: Sequence[bytes]) -> None:
        self._job = job
        self._files = files
        self._pieces = pieces
        self._worker = get_worker()
        # Asked for here: Dask knows its own threads only.
        self._client = get_client()
        self._key = str(self._worker.get_current_task())
        self._host = _host()
        self.store = Store(self._host.store.root)
        self.directory = self.store.root / "tmp" / f"job-{uuid.uuid4().hex[:12]}"
        self.cell: Cell = job.cell

    def do(self, work: Callable[[_Task], Built | Answer]) -> Built | Answer:
        """Do it; what goes wrong is an answer as well."""
        try:
            self._check()
            found = self._host.do(self._key, lambda: self._prepared(work), self._job.deadline_s)
        except Reschedule:
            self._host.drop(self.directory)
            raise
        except HarnessError as error:
            found = self._failed(error)
        except OSError as error:
            words = f"{type(error).__name__}: {error}"
            found = self._failed(trouble_of_host(error) or InfrastructureError(words))
        if isinstance(found, Built):
            # It is in the cache: nobody asks for what was said on the way to it.
            self._host.drop(self.directory)
        if isinstance(found, Answer) and _is_hosts(found) and why_full(self.store) is not None:
            # Elsewhere: from its next heartbeat on this worker takes no jobs.
            self._host.facts(self._worker)
            self._host.drop(self.directory)
            raise Reschedule
        return found

    def _failed(self, error: HarnessError) -> Answer:
        log.info("%s: %s", self._key, error.message)
        return self.answer(None, Trouble.of(error))

    def _check(self) -> None:
        own = version_of(self._host.suite)
        if own != self._job.version:
            raise InfrastructureError(
                f"{self._worker.name} has another version of the harness or of the suite",
                hint="install the same one there, and start the worker again",
            )

    def _prepared(self, work: Callable[[_Task], Built | Answer]) -> Built | Answer:
        self.directory.mkdir()
        self.store.hold(self.directory)
        self.cell = dataclasses.replace(self.cell, target=self._target())
        if self._job.commit is not None:
            pipeline = Pipeline(self.cell.target, self.store, self.say)
            found = pipeline.position().commit
            if found != self._job.commit:
                raise InfrastructureError(
                    f"the patches came to the commit {found[:12]}, not to {self._job.commit[:12]}"
                )
        return work(self)

    def _target(self) -> Target:
        """Return the target with the paths of this machine."""
        job, target = self._job, self.cell.target
        sent = self._put_files()
        kernel = target.kernel
        if job.tree is not None:
            repo = open_sent_tree(
                job.tree, self._pieces, self._host.suite, self.store, progress=self.say
            )
            kernel = KernelSpec(path=repo, base=job.tree.commit)
        series = load_suite(self._host.suite).series if job.series == "" else None
        if job.series:
            series = str(sent / job.series)
        return dataclasses.replace(
            target,
            suite=self._host.suite,
            kernel=kernel,
            series=series,
            extra=tuple(sent / name for name in job.extra),
            qemu=self._host.qemu,
        )

    def _put_files(self) -> Path:
        def make(directory: Path) -> None:
            for name, data in self._files:
                path = directory / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data)

        return self.store.get_or_make("sent", digest("sent", self._job.files), make)

    @property
    def say(self) -> OnProgress:
        """What tells those who asked how far it is."""

        def on_progress(progress: Progress) -> None:
            said = {"task": self._key, "said": pickle.dumps(progress), "worker": self._worker.name}
            self._worker.log_event(self._job.topic, said)

        return on_progress

    def fetch(self, kernel: Built) -> None:
        """Have a kernel in this worker's cache; one that cannot be had is built here."""
        if kernel.worker == self._worker.name or self.store.get(_BUILD, kernel.key) is not None:
            return
        client = self._client

        def look() -> None:
            if kernel.address not in client.scheduler_info(n_workers=-1)["workers"]:
                raise InfrastructureError(f"{kernel.worker} is gone")

        def read(parts: Sequence[Part]) -> bytes:
            future = client.submit(
                hand_over_build,
                kernel.key,
                parts,
                workers=[kernel.address],
                pure=False,
                priority=10,
            )
            return bytes(outcome(future, look, "fetch a kernel"))

        self.say(Progress("fetching", plural(len(kernel.files), "file")))
        try:
            with self.store.lock(f"{_BUILD}-{kernel.key}", waiting="it is fetched"):
                if self.store.get(_BUILD, kernel.key) is None:
                    with self.store.produce(_BUILD, kernel.key) as entry:
                        receive(kernel.files, read, entry)
        except (HarnessError, OSError) as error:
            log.warning("%s from %s: %s", kernel.key, kernel.worker, error)

    def built(self, made: KernelBuild) -> Built:
        """Return what is said of a kernel that is there."""
        return Built(
            key=made.key,
            worker=str(self._worker.name),
            address=self._worker.address,
            seconds=made.seconds,
            cached=made.cached,
            files=list_files(made.directory),
        )

    def answer(self, result: CellResult | None, trouble: Trouble | None = None) -> Answer:
        """Return what became of the cell, and keep its directory as long as that is wanted."""
        self._host.leave(self._key, self.directory)
        return Answer(
            result=dataclasses.replace(result, results=None) if result is not None else None,
            trouble=trouble,
            worker=str(self._worker.name),
            address=self._worker.address,
            directory=self.directory,
            files=list_files(self.directory) if self.directory.is_dir() else (),
            paths={"cache": self.store.root, "suite": self._host.suite},
        )


def _is_hosts(answer: Answer) -> bool:
    """Return whether it is trouble of the machine that an answer tells of."""
    if answer.trouble is not None:
        return not answer.trouble.bad_input
    return answer.result is not None and answer.result.status is CellStatus.ERROR
