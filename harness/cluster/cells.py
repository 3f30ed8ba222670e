# SPDX-License-Identifier: GPL-2.0-only
"""Runs cells on a cluster, as :mod:`harness.run.executor` does on this machine.

A kernel is a task that Dask knows by its content, whoever asks for it: it is built once.  The test
of a cell is a task of its own, behind those of the kernels that it boots.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import re
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from distributed import Future

from harness.base import command
from harness.base.errors import HarnessError, InfrastructureError, SeriesError
from harness.base.progress import OnProgress, Progress
from harness.base.store import Store
from harness.base.timeouts import HOST
from harness.cluster import offer, work
from harness.cluster.client import Cluster
from harness.cluster.job import (
    Answer,
    Built,
    Files,
    Job,
    SentTree,
    files_key,
    sent_files,
    without_paths,
)
from harness.cluster.settings import LOST
from harness.cluster.transfer import receive
from harness.cluster.version import toolchain_key, version_of
from harness.cluster.workers import fitting
from harness.results.directory import clear_results
from harness.results.form import write_file
from harness.results.records import CellStatus
from harness.results.results import read_results
from harness.run.cell import Cell, CellResult
from harness.run.pipeline import Pipeline
from harness.run.provenance import describe_series

log = logging.getLogger(__name__)


def run_cell(
    cluster: Cluster,
    cell: Cell,
    *,
    store: Store,
    directory: Path,
    progress: OnProgress,
    fresh: bool = False,
) -> CellResult:
    """Run a cell, as :func:`harness.run.executor.run_cell` does.

    :raises InfrastructureError: when no worker can do it, saying why.
    """
    return _CellRun(cluster, cell, store, directory, progress).run(fresh=fresh)


class _CellRun:
    """A cell on a cluster."""

    def __init__(
        self,
        cluster: Cluster,
        cell: Cell,
        store: Store,
        directory: Path,
        progress: OnProgress,
    ) -> None:
        self.cluster = cluster
        self.cell = cell
        self.store = store
        self.directory = directory
        self.progress = progress
        self.started = time.monotonic()
        self.pipeline = Pipeline(cell.target, store, progress)
        self.build_needs = {
            offer.BUILD: 1.0,
            offer.version_resource(version_of(cell.target.suite)): 1.0,
            offer.toolchain_resource(toolchain_key(self.pipeline.toolchain)): 1.0,
        }

    def run(self, *, fresh: bool) -> CellResult:
        self.directory.mkdir(parents=True, exist_ok=True)
        clear_results(self.directory)
        needs = self._test_needs()
        self.cluster.check(needs, f"test {self.cell.name}")
        self.cluster.check(self.build_needs, f"build {self.cell.name}")
        try:
            return self._run(needs, fresh=fresh)
        except InfrastructureError as error:
            if command.interrupted():
                raise
            return self._ended(error)

    def _test_needs(self) -> dict[str, float]:
        found = {name: need for name, need in self.build_needs.items() if name != offer.BUILD}
        found |= {offer.GUEST: 1.0, offer.arch_resource(self.cell.target.arch): 1.0}
        accel = self.cell.target.accel
        with_kvm = found | {offer.KVM: 1.0}
        # Where some guests could run under KVM and some could not, results would differ.
        if accel == "kvm" or (accel == "auto" and fitting(self.cluster.workers(), with_kvm)):
            return with_kvm
        return found

    def _run(self, needs: Mapping[str, float], *, fresh: bool) -> CellResult:
        kernels = self._kernels()
        own = next(iter(kernels.values()), None)
        if own is not None:
            with self.cluster.told([str(own.key)], self.progress):
                found = self._received(own, self.build_needs, f"build {self.cell.name}", None)
            if isinstance(found, CellResult):
                return found
        made: list[Built] = []
        for future in kernels.values():
            with self.cluster.told([str(future.key)], self.progress):
                found = self.cluster.wait(future, self.build_needs, f"build {self.cell.name}")
            made += [found] if isinstance(found, Built) else []
        key = f"test-{uuid.uuid4().hex}"
        with self.cluster.told([key], self.progress):
            self.progress(Progress("waiting for a worker"))
            future = self.cluster.task(
                work.test,
                *self._sent(self.cell),
                made,
                fresh,
                key=key,
                needs=needs,
            )
            built = made[0] if own is not None else None
            result = self._received(future, needs, f"test {self.cell.name}", built)
            assert isinstance(result, CellResult)  # noqa: S101 - so is what a test comes to
            return result

    # -- what is asked for ---------------------------------------------------------------------

    def _kernels(self) -> dict[str, Future[Any]]:
        """Return the tasks of the kernels that the tests boot or compare with, its own first.

        All tests together go between the first and the last kernel of a series; single ones have
        their own, and what else they boot is built where they run.
        """
        target = self.cell.target
        cells = [self.cell]
        if not self.cell.tests:
            ends = (target.position, 0, None) if target.extra else (0, None)
            cells += [self._at(position) for position in ends]
        found: dict[str, Future[Any]] = {}
        for cell in cells:
            with contextlib.suppress(SeriesError):
                key = Pipeline(cell.target, self.store, self.progress).build_key()
                if key not in found:
                    found[key] = self.cluster.kernel(key, lambda c=cell, k=key: self._build(c, k))
            if not found:
                break
        return found

    def _at(self, position: int | None) -> Cell:
        target = dataclasses.replace(self.cell.target, position=position, extra=())
        return dataclasses.replace(self.cell, target=target)

    def _build(self, cell: Cell, key: str) -> Future[Any]:
        return self.cluster.task(
            work.build,
            *self._sent(dataclasses.replace(cell, tests=(), pytest_args=())),
            key=f"build-{key}",
            needs=self.build_needs,
            priority=1,
        )

    def _sent(self, cell: Cell) -> tuple[Job, Files, list[Future[Any]]]:
        """Return a job, what is sent along, and the tasks that have its tree."""
        pipeline = Pipeline(cell.target, self.store, self.progress)
        files, series, extra = sent_files(pipeline)
        tree: SentTree | None = None
        pieces: list[Future[Any]] = []
        if cell.target.kernel.package is None:
            tree, pieces = self.cluster.send_tree(pipeline, self.store)
        commit = None
        with contextlib.suppress(SeriesError):
            commit = pipeline.position().commit
        key = files_key(files)
        job = Job(
            cell=without_paths(cell),
            version=version_of(cell.target.suite),
            tree=tree,
            files=key,
            series=series,
            extra=extra,
            commit=commit,
            topic=self.cluster.topic,
            deadline_s=HOST.job_s,
        )
        return job, files, pieces

    # -- what came of it -----------------------------------------------------------------------

    def _received(
        self, future: Future[Any], needs: Mapping[str, float], what: str, built: Built | None
    ) -> CellResult | Built:
        """Wait for a task, and have what it has left on its worker.

        Where that worker is gone before it is handed over, Dask has it made again elsewhere.
        """
        for left in reversed(range(LOST + 1)):
            answer = self.cluster.wait(future, needs, what)
            if isinstance(answer, Built):
                return answer
            try:
                return self._result(answer, built)
            except InfrastructureError:
                if not left or self.cluster.has(answer.address):
                    raise
                log.info("%s is gone with what it had: %s", answer.worker, what)
                clear_results(self.directory)
        raise AssertionError  # the last time it returned, or raised

    def _result(self, answer: Answer, built: Built | None) -> CellResult:
        if answer.trouble is not None:
            error = answer.trouble.error(answer.worker)
            if answer.trouble.bad_input:
                raise error
            return self._ended(error, worker=answer.worker)
        result = answer.result
        assert result is not None  # noqa: S101 - else there was trouble
        receive(answer.files, lambda parts: self.cluster.read(answer, parts), self.directory)
        here = _Paths(answer, self.store.root, self.cell.target.suite, self.directory)
        for path in sorted(self.directory.rglob("results.json")):
            write_file(path, here.translated(json.loads(path.read_text())))
        build = result.build
        if build is not None and built is not None:
            build = dataclasses.replace(build, seconds=built.seconds, cached=built.cached)
        return dataclasses.replace(
            result,
            cell=self.cell,
            message=here.text(result.message),
            log=Path(here.text(str(result.log))) if result.log is not None else None,
            build=build,
            results=self._described(),
            directory=self.directory,
            seconds=time.monotonic() - self.started,
            worker=answer.worker,
        )

    def _described(self) -> Any:
        """Return the tests' results; what was under test is told as it was named here."""
        path = self.directory / "results.json"
        if not path.exists():
            return None
        results, source = read_results(path), self.pipeline.source
        kernel = dataclasses.replace(results.kernel, label=source.label, public=source.public)
        results = dataclasses.replace(results, kernel=kernel, series=describe_series(self.pipeline))
        results.write(path)
        return results

    def _ended(self, error: HarnessError, worker: str = "") -> CellResult:
        return CellResult(
            cell=self.cell,
            status=CellStatus.ERROR,
            message=error.message,
            log=error.log,
            build=None,
            boot=None,
            results=None,
            directory=self.directory,
            seconds=time.monotonic() - self.started,
            cached=False,
            worker=worker,
        )


class _Paths:
    """Paths of a worker, as they are called here."""

    def __init__(self, answer: Answer, cache: Path, suite: Path, directory: Path) -> None:
        # A directory inside another goes first.
        self._here = {
            str(answer.directory): str(directory),
            str(answer.paths["cache"]): str(cache),
            str(answer.paths["suite"]): str(suite),
        }
        there = sorted(self._here, key=len, reverse=True)
        self._there = re.compile("|".join(map(re.escape, there)))

    def text(self, text: str) -> str:
        """Return a text with the paths of here."""
        return self._there.sub(lambda match: self._here[match.group()], text)

    def translated(self, value: Any) -> Any:
        """Return what JSON held, with the paths of here."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, list):
            return [self.translated(item) for item in value]
        if isinstance(value, dict):
            return {key: self.translated(item) for key, item in value.items()}
        return value
