# SPDX-License-Identifier: GPL-2.0-only
"""Runs cells: builds the kernel, runs pytest in a process of its own, says how far it came.

A cell that came to verdicts before comes from the cache, as long as nothing changed that can change
what its tests say.
"""

from __future__ import annotations

import contextlib
import dataclasses
import re
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, TypeVar

from harness.base import command
from harness.base.errors import (
    BuildError,
    ExitCode,
    HarnessError,
    InfrastructureError,
    InputError,
    KconfigError,
    SeriesError,
)
from harness.base.importing import module_file
from harness.base.kernel_name import target_named
from harness.base.progress import Count, OnProgress, Progress, Running
from harness.base.store import Store, digest
from harness.guest.accel import qemu_build
from harness.kernel.build import KernelBuild
from harness.results.directory import AGAIN, clear_results
from harness.results.records import CellStatus
from harness.results.results import Boot, BootResult, Outcome, RunResults, read_results
from harness.run.cell import (
    Cell,
    CellBuild,
    CellResult,
    function_of,
    own_paths,
    pytest_argv,
    pytest_environment,
)
from harness.run.pipeline import Pipeline
from harness.run.provenance import describe_series

T = TypeVar("T")

_KIND = "cell"
_RECIPE = 1
"""Grows when results of the same inputs come to be read in another way."""

_LOGS = ("pytest.log", f"pytest-{AGAIN}.log", "build.log")
"""What is appended to, so that it has to begin anew."""

_USAGE = 4
_NO_TESTS = 5
"""What pytest exits with: its ``ExitCode.USAGE_ERROR`` and ``NO_TESTS_COLLECTED``."""

_SHOW_S = 10.0
"""Seconds between two words about how far the tests are."""

_ENDED = re.compile(r"\S*?(?P<test>[^/ ]+\.py::.*\S)\s+\[ *(?P<percent>\d+)%\]$")
"""pytest's line about a test that has ended, as it prints it with ``-v``."""

_JUDGING = ("results", "guest", "run", "plugin")
"""Folders of the package between a kernel and what a test says of it.  What ``base`` and
``kernel`` do is in the keys of build and image; the others come after the tests."""


class RunCell(Protocol):
    """What runs a cell: :func:`run_cell`, or what does the same elsewhere."""

    def __call__(
        self,
        cell: Cell,
        *,
        store: Store,
        directory: Path,
        progress: OnProgress,
        fresh: bool = False,
    ) -> CellResult:
        """Run it, as :func:`run_cell` does."""


def run_cell(
    cell: Cell, *, store: Store, directory: Path, progress: OnProgress, fresh: bool = False
) -> CellResult:
    """Build, boot and test; a cell that came to verdicts before comes from the cache.

    :param directory: where its results go, made when missing; older results in it are removed.
    :param fresh: run it although the cache has it.
    :raises InputError: when the cell makes no sense anywhere: no such profile, test or position.
    :raises MachineError: when this host cannot run machines at all.
    """
    return _Run(cell, store, directory, progress).run(fresh=fresh)


def build_cell(
    cell: Cell, *, store: Store, directory: Path, progress: OnProgress
) -> KernelBuild | CellResult:
    """Build a cell's kernel, and no more.

    :param directory: as for :func:`run_cell`.
    :returns: what became of the cell when there is no such kernel.
    :raises InputError: as :func:`run_cell` does.
    """
    return _Run(cell, store, directory, progress).build()


class _Run:
    def __init__(self, cell: Cell, store: Store, directory: Path, progress: OnProgress) -> None:
        self.cell = cell
        self.store = store
        self.directory = directory
        self.progress = progress
        self.pipeline = Pipeline(cell.target, store, progress)
        to = target_named(cell.to, cell.target) if cell.to else None
        self.next = Pipeline(to, store, progress) if to is not None else None
        self.started = time.monotonic()

    def run(self, *, fresh: bool) -> CellResult:
        self.directory.mkdir(parents=True, exist_ok=True)
        clear_results(self.directory)
        for name in _LOGS:
            (self.directory / name).unlink(missing_ok=True)
        argv = pytest_argv(self.cell, self.directory)
        _ = self.pipeline.profile, self.pipeline.accel
        prepared = self._unless_ended(lambda: (self._build(), self._key()))
        if isinstance(prepared, CellResult):
            return prepared
        build, key = prepared
        if not fresh and self._from_cache(key):
            results = read_results(self.directory / "results.json")
            # An older version of the series may have led to the same kernel.
            results = dataclasses.replace(results, series=describe_series(self.pipeline))
            results.write(self.directory / "results.json")
            return self._tested(build, results, cached=True)
        return self._test(argv, build, key)

    def build(self) -> KernelBuild | CellResult:
        self.directory.mkdir(parents=True, exist_ok=True)
        return self._unless_ended(self.pipeline.build)

    def _unless_ended(self, work: Callable[[], T]) -> T | CellResult:
        """Do what comes before the tests; return what became of the cell when it ends there."""
        try:
            self.pipeline.position()
            return work()
        except SeriesError as error:
            if error.patch is None:
                raise
            return self._ended(CellStatus.NOT_APPLIED, error)
        except (BuildError, KconfigError) as error:
            return self._ended(CellStatus.NOT_BUILT, error)
        except InfrastructureError as error:
            return self._ended(CellStatus.ERROR, error)

    def _build(self) -> CellBuild:
        build = self.pipeline.build()
        self.pipeline.image(build)
        if self.next is not None:
            self.pipeline.image(self.next.build())
        return CellBuild(
            commit=build.commit,
            release=build.release,
            seconds=build.seconds,
            cached=build.cached,
            new_warnings=None,
        )

    def _compared(self, build: CellBuild) -> CellBuild:
        """Return a build with its new warnings.

        That is asked late: what they are compared with may be built by the cell beside this one.
        """
        return dataclasses.replace(build, new_warnings=self.pipeline.new_warnings())

    def _test(self, argv: list[str | Path], build: CellBuild, key: str) -> CellResult:
        self.progress(Progress(Running(release=build.release)))
        log_file = self.directory / "pytest.log"
        status = command.run_attached(
            [*argv, "-v"],
            env=pytest_environment(),
            log_file=log_file,
            on_line=self._show(build.release),
        )
        path = self.directory / "results.json"
        if not path.exists():
            error = self._no_results(status, log_file)
            if isinstance(error, InputError):
                raise error
            return self._ended(CellStatus.ERROR, error, build)
        results = read_results(path)
        whole = (ExitCode.PASSED, ExitCode.TESTS_FAILED, ExitCode.INFRASTRUCTURE)
        if status not in whole or not results.complete:
            words = f"pytest ended before its last test: {_last_words(log_file)} (status {status})"
            return self._ended(CellStatus.ERROR, InfrastructureError(words, log=log_file), build)
        results = self._asked_again(results, build)
        result = self._tested(build, results, cached=False)
        verdicts = all(test.outcome is not Outcome.ERROR for test in results.tests)
        if result.status is CellStatus.TESTED and verdicts:
            self._into_cache(key)
        return result

    def _asked_again(self, results: RunResults, build: CellBuild) -> RunResults:
        """Ask tests without a verdict once more: what befell a machine may not befall the next."""
        missing = [test.id for test in results.tests if test.outcome is Outcome.ERROR]
        if len(missing) in (0, len(results.tests)) or own_paths(self.cell.pytest_args):
            return results
        again = f"{len(missing)} without a verdict, again"
        self.progress(Progress(Running(release=build.release), again))
        directory = self.directory / AGAIN
        tests = tuple(dict.fromkeys(function_of(test) for test in missing))
        command.run_attached(
            [*pytest_argv(dataclasses.replace(self.cell, tests=tests), directory), "-v"],
            env=pytest_environment(),
            log_file=self.directory / f"pytest-{AGAIN}.log",
            on_line=self._show(build.release),
        )
        if not (directory / "results.json").exists():
            return results
        found = results.with_later(read_results(directory / "results.json"), AGAIN)
        found.write(self.directory / "results.json")
        return found

    def _show(self, release: str) -> Callable[[str], None]:
        """Return what tells, every few seconds, how far pytest is."""
        last = time.monotonic()

        def on_line(line: str) -> None:
            nonlocal last
            ended = ended_test(line)
            if ended is not None and time.monotonic() - last > _SHOW_S:
                last = time.monotonic()
                self.progress(Progress(Running(release=release), *ended))

        return on_line

    def _tested(self, build: CellBuild, results: RunResults, *, cached: bool) -> CellResult:
        boot = _boot_of(build.release, results)
        status, message, log = CellStatus.TESTED, "", None
        if boot is not None and boot.outcome is not Boot.OK:
            error = boot.outcome is Boot.ERROR
            status = CellStatus.ERROR if error else CellStatus.NOT_BOOTED
            message, log = boot.message, self.directory / boot.machine
        return CellResult(
            cell=self.cell,
            status=status,
            message=message,
            log=log,
            build=self._compared(build),
            boot=boot,
            results=results,
            directory=self.directory,
            seconds=time.monotonic() - self.started,
            cached=cached,
        )

    def _ended(
        self, status: CellStatus, error: HarnessError, build: CellBuild | None = None
    ) -> CellResult:
        log = error.log
        if log is not None and log.is_file() and self.directory not in log.parents:
            # The next build in the same tree writes over it.
            log = Path(shutil.copy(log, self.directory / "build.log"))
        return CellResult(
            cell=self.cell,
            status=status,
            message=error.message,
            log=log,
            build=self._compared(build) if build is not None else None,
            boot=None,
            results=None,
            directory=self.directory,
            seconds=time.monotonic() - self.started,
            cached=False,
        )

    def _no_results(self, status: int, log_file: Path) -> HarnessError:
        if status == _NO_TESTS:
            return InputError("no test was chosen", hint="see what is behind --", log=log_file)
        kind = InputError if status in (ExitCode.BAD_INPUT, _USAGE) else InfrastructureError
        return kind(f"pytest: {_last_words(log_file)} (status {status})", log=log_file)

    # -- the cache -------------------------------------------------------------------------

    def _key(self) -> str:
        """Return a key of everything that can change what the tests say.

        Kernels of other positions that a test boots are not in it: :meth:`_from_cache`.
        """
        pipeline, cell = self.pipeline, self.cell
        suite, profile = pipeline.suite, pipeline.profile
        package = Path(__file__).parents[1]
        judging = [path for folder in _JUDGING for path in sorted((package / folder).glob("*.py"))]
        judging += [path for name in suite.plugins for path in _beside(suite.root, name)]
        return digest(
            *(_KIND, _RECIPE, pipeline.build_key(), pipeline.position().commit),
            # Some tests run at the ends of a series; what they state is of the suite's own.
            *(pipeline.applied.last, pipeline.is_suites),
            pipeline.image(pipeline.build()).key,
            *(profile.cmdline, profile.memory_mib, profile.cpus, profile.timeout_scale),
            *(pipeline.accel.name, qemu_build(pipeline.qemu)),
            *(cell.judge, cell.strict, cell.cmdline, cell.tests, cell.pytest_args),
            *((self.next.build_key(), self.next.position().commit) if self.next else ()),
            *(suite.file, suite.tests, *([suite.known_issues] if suite.known_issues else [])),
            *(*own_paths(cell.pytest_args), *judging),
        )

    def _from_cache(self, key: str) -> bool:
        """Copy results out of the cache, if they are of the kernels that would be used now."""
        entry = self.store.get(_KIND, key)
        if entry is None:
            return False
        builds = read_results(entry / "results.json").builds
        try:
            same = all(
                self.pipeline.build_key(int(number)) == used for number, used in builds.items()
            )
        except SeriesError:
            same = False
        if same:
            shutil.copytree(
                entry, self.directory, dirs_exist_ok=True, ignore=lambda *_: ["manifest.json"]
            )
        self.store.let_go(entry)
        return same

    def _into_cache(self, key: str) -> None:
        with self.store.produce(_KIND, key) as entry:
            shutil.copytree(self.directory, entry, dirs_exist_ok=True)


def _last_words(log_file: Path) -> str:
    """Return why pytest ended, as it says itself."""
    said = [line for line in log_file.read_text(errors="replace").splitlines() if line.strip()]
    errors = [line for line in said if line.startswith(("ERROR", "E  ", "!!!"))] or said
    return errors[-1].strip("! ") if errors else "it says nothing"


def check_ended(status: int, directory: Path) -> None:
    """Look at how pytest ended, whose words the user has read.

    :param directory: where its results go.
    :raises InputError: when no test was chosen, or it made no sense of its arguments.
    :raises InfrastructureError: when it did not come to its end: its status is no verdict.
    """
    if status < 0:
        raise InfrastructureError(f"pytest was killed by {signal.Signals(-status).name}")
    if status == ExitCode.TESTS_FAILED and not _has_failed(directory):
        # So ends Python on an error of its own, too.
        raise InfrastructureError(f"pytest broke off with status {status}: its words are above")
    if status == _NO_TESTS:
        raise InputError(
            "no test was chosen",
            hint="behind -- is what chooses them: -k with part of a name, or files of the suite",
        )
    if status == _USAGE:
        raise InputError(
            "pytest made no sense of what is behind --", hint="its words are above; see pytest -h"
        )


def _has_failed(directory: Path) -> bool:
    """Return whether a session has left a word about a test that failed; no kernel may be in it."""
    if (directory / "results.json").exists():
        return True
    with contextlib.suppress(OSError):
        said = (directory / "junit.xml").read_text(errors="replace")
        return re.search(r'\b(failures|errors)="[1-9]', said) is not None
    return False


def ended_test(line: str) -> tuple[str, Count] | None:
    """Return which test a line of pytest says has ended, with how, and how far all of them are."""
    match = _ENDED.match(line)
    if match is None:
        return None
    return match["test"], Count(done=int(match["percent"]), total=100, unit="%")


def _beside(root: Path, plugin: str) -> list[Path]:
    """Return the files that a plugin is in, with those beside it: they judge as well."""
    found = module_file(root, plugin)
    return sorted(found.parent.glob("*.py")) if found is not None else []


def _boot_of(release: str, results: RunResults) -> BootResult | None:
    own = [boot for boot in results.boots if boot.release == release]
    worked = [boot for boot in own if boot.outcome is Boot.OK]
    return worked[0] if worked else own[-1] if own else None
