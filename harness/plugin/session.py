# SPDX-License-Identifier: GPL-2.0-only
"""What one pytest session holds: the pipeline, machines and results."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import functools
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

from harness.base.errors import (
    GuestError,
    HarnessError,
    InputError,
    KernelCrash,
    KexecRefused,
    PreconditionError,
    SilentGuestError,
)
from harness.base.progress import Progress
from harness.base.suite import Suite
from harness.guest.idle import read_idle, what_is_left
from harness.guest.starved import why_stopped
from harness.plugin.interrupts import take_interrupts
from harness.plugin.options import setting, suite_of, usable, worker_of
from harness.results.directory import results_directory
from harness.results.facts import Provenance
from harness.results.kernel_log import KnownIssue
from harness.results.known_issues import load_known_issues
from harness.results.results import Boot, BootResult, TestResult

if TYPE_CHECKING:
    from harness.guest.machine import Machine
    from harness.guest.template import Started, Step
    from harness.kernel.build import KernelBuild
    from harness.run.pipeline import Pipeline

_T = TypeVar("_T")

SHARED = "harness_results"
"""What tells a worker of pytest-xdist the name of the directory that all of them share."""


@dataclass(slots=True)
class _Watch:
    """A machine and how far its console has been judged.

    :param stopped_s: for how long QEMU was stopped until then.
    """

    machine: Machine
    judged: int = 0
    stopped_s: float = 0.0

    def why_stopped(self) -> str | None:
        """Say that QEMU was stopped since this was asked last; ``None`` when it was not."""
        if self.machine.processor_time is None:
            return None
        before, self.stopped_s = self.stopped_s, self.machine.processor_time.stopped_s
        return why_stopped(self.stopped_s - before)


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What one process found out besides the tests' outcomes.

    :param extras: as :class:`harness.results.results.RunResults` has them.
    """

    facts: Provenance
    boots: tuple[BootResult, ...]
    extras: Mapping[str, tuple[Mapping[str, Any], ...]]


class Session:
    """The pipeline, the machines and the results of one pytest session."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.began = datetime.datetime.now().astimezone()
        self.started = time.monotonic()
        self.strict = usable(config, "strict") == "yes"
        self._judge = usable(config, "judge")
        self.templates = usable(config, "templates") == "yes"
        self.watches: list[_Watch] = []
        self.shared: Machine | None = None
        self._shared_boot = 0
        self._idle: dict[str, int] = {}
        self.tests: dict[str, TestResult] = {}
        self.extras: dict[str, list[dict[str, Any]]] = {}
        self.boots: list[BootResult] = []
        self.running = ""
        self.workers: list[Findings] = []
        self.lost_worker = False
        self.interrupted = False
        # How workers of pytest-xdist call the directory that they share, unless one was asked for.
        self.shared_name: str | None = getattr(config, "workerinput", {}).get(SHARED)
        # Below pytest-xdist, machines of several workers go into one directory.
        self._prefix = f"{worker}-" if (worker := worker_of(config)) else ""
        self._pipeline: Pipeline | None = None
        self._dead: dict[str, HarnessError] = {}

    @functools.cached_property
    def directory(self) -> Path:
        """Where the results go, made at its first use; one that was asked for was cleared."""
        given = setting(self.config, "results")
        if given:
            return Path(given).resolve()
        top = self.config.rootpath / "results"
        return or_exit(lambda: results_directory(None, top, shared=self.shared_name))

    @property
    def pipeline(self) -> Pipeline:
        """The pipeline, made at its first use: unit tests never pay for it."""
        if self._pipeline is None:
            from harness.base.settings import target_from_settings
            from harness.base.store import Store
            from harness.run.pipeline import Pipeline

            take_interrupts(self.config)
            target = target_from_settings(lambda name: setting(self.config, name))
            self._pipeline = Pipeline(target, Store(room=setting(self.config, "room")), self.say)
        return self._pipeline

    @functools.cached_property
    def next_pipeline(self) -> Pipeline | None:
        """The stages of the kernel that ``--harness-to`` names; ``None`` without one."""
        from harness.base.kernel_name import target_named
        from harness.run.pipeline import Pipeline

        to = setting(self.config, "to")
        if to is None:
            return None
        target = target_named(to, self.pipeline.target)
        return Pipeline(target, self.pipeline.store, self.say)

    @functools.cached_property
    def by_expectation(self) -> bool:
        """Whether tests are judged by what their markers state for the position.

        Unless somebody says, what the suite's series is to bring is asked of nothing else.
        """
        if self._judge is None and setting(self.config, "series") is not None:
            return not or_exit(lambda: self.pipeline.is_suites)
        return self._judge == "expected"

    @functools.cached_property
    def at_an_end(self) -> bool:
        """Whether the kernel under test has none of the series' patches, or all."""
        position = self.pipeline.target.position
        series = or_exit(lambda: self.pipeline.series)
        return position in (None, 0, len(series.patches) if series is not None else 0)

    @functools.cached_property
    def suite(self) -> Suite:
        """The suite that the tests are of."""
        return or_exit(lambda: suite_of(self.config))

    @functools.cached_property
    def known_issues(self) -> tuple[KnownIssue, ...]:
        """Splats of base kernels that fail no test."""
        return load_known_issues(self.suite.known_issues)

    @property
    def used(self) -> bool:
        """Whether any test asked for a kernel, as far as is known."""
        return self._pipeline is not None or bool(self.workers) or self.lost_worker

    @property
    def is_run(self) -> bool:
        """Whether there are to be results; else these are somebody's other tests."""
        return self.used or setting(self.config, "results") is not None

    def findings(self) -> Findings | None:
        """Return what goes into the results besides the tests; ``None`` without a kernel."""
        if self._pipeline is None or not self._pipeline.builds:
            return None
        from harness.run.provenance import facts_of

        try:
            facts = facts_of(self._pipeline)
        except HarnessError:
            # The run ended on this very error; it has been said.
            return None
        return Findings(
            facts=facts,
            boots=tuple(self.boots),
            extras={key: tuple(items) for key, items in self.extras.items()},
        )

    def boot(
        self,
        position: int | None = None,
        step: Step | None = None,
        cmdline: tuple[str, ...] = (),
    ) -> Started:
        """Start a machine, a clone where that can be, and watch its console from the first byte.

        A kernel that failed to boot twice and never did is not tried again.

        :param step: the state that the machine is to be in.
        :param cmdline: kernel parameters besides those of the profile and ``--cmdline``.
        """
        build = self.build(position)
        if build.release in self._dead:
            raise self._dead[build.release]
        name = f"{self._prefix}{len(self.boots) + 1:03}"
        directory = self.directory / "machines" / name
        templates = or_exit(lambda: self.pipeline.templates(build, cmdline=self._cmdline + cmdline))
        # gcov's counters would be counted once for each clone, and lost with what comes cached.
        cloning = self.templates and not build.gcov.is_dir()
        watched = len(self.watches)
        began = time.monotonic()
        try:
            if cloning:
                started = templates.start(directory, step, booting=self._watch)
            else:
                started = templates.boot(directory, step, booting=self._watch)
        except HarnessError as error:
            why = next(filter(None, (watch.why_stopped() for watch in self.watches[watched:])), "")
            self._booted(build.release, began, name, error, stopped=why)
            raise
        if started.cloned:
            # The clone's console begins with that of the machine it was made from.
            del self.watches[watched:]
            self._watch(started.machine)
        self._booted(build.release, began, name, None, cloned=started.cloned)
        return started

    @property
    def _cmdline(self) -> tuple[str, ...]:
        return tuple((setting(self.config, "cmdline") or "").split())

    def _watch(self, machine: Machine) -> None:
        machine.test = self.test_id(self.running) if self.running else ""
        self.watches.append(_Watch(machine))

    def begin(self, nodeid: str) -> None:
        """Note which test runs from now on."""
        self.running = nodeid
        for watch in self.watches:
            watch.machine.test = self.test_id(nodeid)

    def count(self) -> None:
        """Fetch what machines have counted for the test that ends, where their kernels count."""
        for watch in self.watches:
            if not watch.machine.closed:
                # A kernel that does not answer has been judged by its test.
                with contextlib.suppress(HarnessError):
                    watch.machine.collect_counters()

    def build(self, position: int | None) -> KernelBuild:
        """Return a kernel; trouble with the one under test ends the session."""
        if position is None:
            return or_exit(self.pipeline.build)
        return self.pipeline.build(position)

    def _booted(
        self,
        release: str,
        started: float,
        name: str,
        error: HarnessError | None,
        *,
        cloned: bool = False,
        stopped: str = "",
    ) -> None:
        outcome = _boot_outcome(error)
        if stopped and outcome is Boot.UNUSABLE:
            outcome = Boot.ERROR
        self.boots.append(
            BootResult(
                release=release,
                outcome=outcome,
                seconds=time.monotonic() - started,
                message="; ".join(filter(None, (error.message if error else "", stopped))),
                machine=f"machines/{name}",
                cloned=cloned,
            )
        )
        own = [boot.outcome for boot in self.boots if boot.release == release]
        if error is not None and len(own) > 1 and not {Boot.OK, Boot.ERROR} & set(own):
            self._dead[release] = error

    def add(self, key: str, item: dict[str, Any]) -> None:
        """Enter something of the suite's own into the results, under *key*.

        :param item: as JSON can hold it; see :mod:`harness.report.sections` for how it is shown.
        """
        self.extras.setdefault(key, []).append(item)

    def test_id(self, nodeid: str) -> str:
        """Return what results call a test: its node id below the suite's tests."""
        file, separator, rest = nodeid.partition("::")
        path = Path(self.config.rootpath) / file
        tests = self.suite.tests
        return (
            f"{path.relative_to(tests)}{separator}{rest}" if path.is_relative_to(tests) else nodeid
        )

    def say(self, progress: Progress) -> None:
        """Show progress although pytest captures output."""
        terminal = self.config.pluginmanager.get_plugin("terminalreporter")
        capture = self.config.pluginmanager.get_plugin("capturemanager")
        if terminal is None or capture is None:
            return
        with capture.global_and_fixture_disabled():
            terminal.ensure_newline()
            terminal.write_line(str(progress))

    def share(self) -> Machine:
        """Return the machine that tests share, booted at its first use."""
        if self.shared is None:
            self.shared = self.boot().machine
            self._shared_boot = len(self.boots) - 1
            # What serves the first command stays, and is nobody's leak.
            if self.suite.idle and self.shared.clean_up() is None:
                with self._dropped_when_silent():
                    self._idle = read_idle(self.shared, self.suite.idle)
        return self.shared

    def left(self, machine: Machine) -> str | None:
        """Say what the shared machine holds more than when it came up; ``None``: nothing.

        :raises GuestError: when it does not answer.
        """
        with self._dropped_when_silent():
            return what_is_left(machine, self.suite.idle, self._idle) if self._idle else None

    @contextlib.contextmanager
    def _dropped_when_silent(self) -> Iterator[None]:
        """Let no other test have the shared machine when it does not answer this one."""
        try:
            yield
        except HarnessError as error:
            self.drop_shared(f"it does not answer: {error}", self.running)
            raise

    def drop_shared(self, why: str, nodeid: str = "") -> None:
        """End the shared machine; the next test that wants one boots another.

        :param why: what the results say of it.
        :param nodeid: the test after which that is so.
        """
        if self.shared is not None:
            self.shared.close()
            self.shared, self._idle = None, {}
            after = self.test_id(nodeid) if nodeid else ""
            boot = self.boots[self._shared_boot]
            self.boots[self._shared_boot] = dataclasses.replace(
                boot, replaced=why, replaced_after=after
            )

    def close(self) -> None:
        """End every machine that is still running."""
        self.shared = None
        for watch in self.watches:
            watch.machine.close()


def _boot_outcome(error: HarnessError | None) -> Boot:
    match error:
        case None | KexecRefused():
            # On the way to its state: a machine that refuses to go on has come up.
            return Boot.OK
        case KernelCrash():
            return Boot.CRASHED
        case SilentGuestError() | GuestError() | PreconditionError():
            return Boot.UNUSABLE
    return Boot.ERROR


SESSION = pytest.StashKey[Session]()


def session_of(config: pytest.Config) -> Session:
    """Return what the session holds, made at its first use."""
    if SESSION not in config.stash:
        config.stash[SESSION] = Session(config)
    return config.stash[SESSION]


def or_exit(stage: Callable[[], _T], kind: type[HarnessError] = InputError) -> _T:
    """Run a stage; errors of *kind* end the session with one message instead of one a test."""
    try:
        return stage()
    except kind as error:
        hint = f"\n  hint: {error.hint}" if error.hint else ""
        log = f"\n  log: {error.log}" if error.log else ""
        pytest.exit(f"{error.message}{hint}{log}", returncode=int(error.exit_code))
