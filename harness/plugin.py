# SPDX-License-Identifier: GPL-2.0-only
"""The pytest plugin: options, fixtures, and what is done with every report.

Every option is looked for on the command line (``--harness-X``), then in the environment
(``HARNESS_X``), then in the ini file (``harness_x``), then there is a default.

A test fails when the kernel log shows a splat that it did not expect.  Trouble of the harness or
the machine is an *error* (no verdict), a kernel that dies is a *failure* shown as ``CRASHED``.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
import signal
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

from harness.errors import (
    ExitCode,
    GuestError,
    HarnessError,
    InfrastructureError,
    InputError,
    KernelCrash,
    PreconditionError,
    SilentGuestError,
)
from harness.expectation import EVERYWHERE, Expectation, Expected, resolve
from harness.report import Boot, BootResult, Outcome, RunResults, TestResult, UpdateResult

if TYPE_CHECKING:
    from harness.build import KernelBuild
    from harness.guest import Guest
    from harness.image import Image
    from harness.liveupdate import LiveUpdate
    from harness.pipeline import Pipeline
    from harness.template import Started, Step
    from harness.vm import KernelModule, VirtualMachine

_T = TypeVar("_T")

UpdatedMachine = Callable[
    [Callable[["LiveUpdate"], None]], "contextlib.AbstractContextManager[LiveUpdate]"
]
"""What the fixture :func:`updated_machine` is."""

_RESULTS, _EVIDENCE = "harness_results", "harness_evidence"
"""What pytest-xdist carries to its workers, and back."""

_CONSOLE_LINES = 60
"""Lines of the console that a report shows; all of them are in a file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Option:
    name: str
    metavar: str
    help: str
    default: str | None = None


_OPTIONS = (
    _Option(
        name="kernel",
        metavar="PATH",
        help="kernel tree: git tree, tarball or source package (default: the pinned package)",
    ),
    _Option(name="base", metavar="REV", help="revision of a git tree to start from"),
    _Option(
        name="series",
        metavar="WHERE",
        help="mbox, maildir, directory or A..B; 'none' for no patches (default: the shipped one)",
    ),
    _Option(name="position", metavar="N", help="how many patches to apply (default: all)"),
    _Option(name="extra", metavar="FILES", help="patches on top of the position, colon-separated"),
    _Option(name="profile", metavar="NAME", help="kernel profile", default="default"),
    _Option(name="accel", metavar="auto|kvm|tcg", help="QEMU accelerator", default="auto"),
    _Option(name="cmdline", metavar="WORDS", help="further kernel parameters"),
    _Option(name="jobs", metavar="N", help="parallel compilers (default: one for each CPU)"),
    _Option(
        name="judge",
        metavar="desired|expected",
        help="by what the series is to bring, or by what the markers state for the position",
        default="desired",
    ),
    _Option(
        name="templates",
        metavar="yes|no",
        help="clone machines from one that was booted, or boot each",
        default="yes",
    ),
    _Option(name="results", metavar="DIR", help="where logs and results.json go"),
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the options, all with one prefix."""
    group = parser.getgroup("harness", "kernel under test in QEMU")
    for option in _OPTIONS:
        text = f"{option.help} (default: {option.default})" if option.default else option.help
        group.addoption(f"--harness-{option.name}", metavar=option.metavar, help=text)
        parser.addini(f"harness_{option.name}", text, default="")


def pytest_configure(config: pytest.Config) -> None:
    """Register the markers."""
    for marker in (
        "fresh_machine: give the test a machine that nothing else has used",
        "splat(regex): the kernel log must show a splat whose title matches; it is then no failure",
        "fails_before(patch, splat=None, sometimes=False): the patch that brings what is asked for",
        "only_from(patch): the test has nothing to ask before that patch",
        "catalogue: pins what a patch changes, or must not; scripts/run goes without",
        "machinery: asks about the harness; deselected where stated expectations are judged",
        "profiles(name, ...): the kernel profiles the test makes sense with; elsewhere deselected",
    ):
        config.addinivalue_line("markers", marker)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out tests of other profiles, and those that no patch can change.

    What judges by stated expectations goes through many positions, and asks about the kernel.
    """
    profile = setting(config, "profile") or "default"
    by_expectation = _by_expectation(config)
    kept: list[pytest.Item] = []
    others: list[pytest.Item] = []
    for item in items:
        fits = all(profile in mark.args for mark in item.iter_markers("profiles"))
        asked = not (by_expectation and item.get_closest_marker("machinery"))
        (kept if fits and asked else others).append(item)
    if others:
        config.hook.pytest_deselected(items=others)
        items[:] = kept


def setting(config: pytest.Config, name: str) -> str | None:
    """Return an option's value: command line, environment, ini file, default, in this order."""
    default = next(option.default for option in _OPTIONS if option.name == name)
    given = config.getoption(f"harness_{name}")
    if given is not None:
        return str(given)
    return os.environ.get(f"HARNESS_{name.upper()}") or config.getini(f"harness_{name}") or default


# -- what a session holds -------------------------------------------------------------------


@dataclass(slots=True)
class _Watch:
    """A machine and how far its console has been judged."""

    machine: VirtualMachine
    judged: int = 0


class _Session:
    """The pipeline, the machines and the results of one pytest session."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.started = time.monotonic()
        self.directory = _results_directory(config)
        self.by_expectation = _by_expectation(config)
        self.templates = _one_of(config, "templates", "yes", "no") == "yes"
        self.watches: list[_Watch] = []
        self.shared: VirtualMachine | None = None
        self.tests: dict[str, TestResult] = {}
        self.updates: list[UpdateResult] = []
        self.boots: list[BootResult] = []
        self.running = ""
        self.workers: list[dict[str, Any]] = []
        # Below pytest-xdist, machines of several workers go into one directory.
        self._prefix = f"{worker}-" if (worker := _worker(config)) else ""
        self._pipeline: Pipeline | None = None
        self._dead: dict[str, HarnessError] = {}

    @property
    def pipeline(self) -> Pipeline:
        """The pipeline, made at its first use: unit tests never pay for it."""
        if self._pipeline is None:
            from harness.pipeline import Pipeline, target_from_settings
            from harness.store import Store

            # What ends a job in CI must end compilers and machines too, as Ctrl-C does.
            if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
                signal.signal(signal.SIGTERM, signal.default_int_handler)
            target = target_from_settings(lambda name: setting(self.config, name))
            self._pipeline = Pipeline(target, Store(), self.say)
        return self._pipeline

    @property
    def used(self) -> bool:
        """Whether any test asked for a kernel."""
        return self._pipeline is not None or bool(self.workers)

    def evidence(self) -> dict[str, Any] | None:
        """Return what goes into the results besides the tests; ``None`` without a kernel."""
        if self._pipeline is None or not self._pipeline.built:
            return None
        try:
            facts = self._pipeline.facts()
        except HarnessError:
            # The run ended on this very error; it has been said.
            return None
        return {
            "facts": facts,
            "live_updates": [dataclasses.asdict(update) for update in self.updates],
            "boots": [dataclasses.asdict(boot) for boot in self.boots],
        }

    def boot(self, position: int | None = None, step: Step | None = None) -> Started:
        """Start a machine, a clone where that can be, and watch its console from the first byte.

        A kernel that failed to boot twice and never did is not tried again.

        :param step: the state that the machine is to be in.
        """
        build = self.build(position)
        if build.release in self._dead:
            raise self._dead[build.release]
        name = f"{self._prefix}{len(self.boots) + 1:03}"
        directory = self.directory / "machines" / name
        templates = _or_exit(lambda: self.pipeline.templates(build, cmdline=self._cmdline))
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
            self._booted(build.release, began, name, error)
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

    def _watch(self, machine: VirtualMachine) -> None:
        self.watches.append(_Watch(machine))

    def build(self, position: int | None) -> KernelBuild:
        """Return a kernel; trouble with the one under test ends the session."""
        if position is None:
            return _or_exit(self.pipeline.build)
        return self.pipeline.build(position)

    def _booted(
        self,
        release: str,
        started: float,
        name: str,
        error: HarnessError | None,
        *,
        cloned: bool = False,
    ) -> None:
        outcome = _boot_outcome(error)
        self.boots.append(
            BootResult(
                release=release,
                outcome=outcome,
                seconds=time.monotonic() - started,
                message=error.message if error is not None else "",
                machine=f"machines/{name}",
                cloned=cloned,
            )
        )
        own = [boot.outcome for boot in self.boots if boot.release == release]
        if error is not None and len(own) > 1 and not {Boot.OK, Boot.ERROR} & set(own):
            self._dead[release] = error

    def record(self, update: LiveUpdate, test: str) -> None:
        """Enter a live update into the results, if it came to its second kernel."""
        result = update.result(test=test)
        if result is not None:
            self.updates.append(result)

    def say(self, text: str) -> None:
        """Show progress although pytest captures output."""
        terminal = self.config.pluginmanager.get_plugin("terminalreporter")
        capture = self.config.pluginmanager.get_plugin("capturemanager")
        if terminal is None or capture is None:
            return
        with capture.global_and_fixture_disabled():
            terminal.ensure_newline()
            terminal.write_line(text)

    def drop_shared(self) -> None:
        """End the shared machine; the next test that wants one boots another."""
        if self.shared is not None:
            self.shared.close()
            self.shared = None

    def close(self) -> None:
        """End every machine that is still running."""
        self.shared = None
        for watch in self.watches:
            watch.machine.close()


def _boot_outcome(error: HarnessError | None) -> Boot:
    match error:
        case None:
            return Boot.OK
        case KernelCrash():
            return Boot.CRASHED
        case SilentGuestError() | GuestError() | PreconditionError():
            return Boot.UNUSABLE
    return Boot.ERROR


_SESSION = pytest.StashKey[_Session]()
_EXPECTATION = pytest.StashKey[Expectation]()
_MET = pytest.StashKey[set[str]]()


def _session(config: pytest.Config) -> _Session:
    if _SESSION not in config.stash:
        config.stash[_SESSION] = _Session(config)
    return config.stash[_SESSION]


def _worker(config: pytest.Config) -> str | None:
    """Return the name of the pytest-xdist worker that this is, ``None`` when it is none."""
    given = getattr(config, "workerinput", None)
    return None if given is None else str(given["workerid"])


def _results_directory(config: pytest.Config) -> Path:
    if _worker(config) is not None:
        return Path(config.workerinput[_RESULTS])  # type: ignore[attr-defined]
    given = setting(config, "results")
    if given:
        return Path(given).resolve()
    return Path(config.rootpath) / "results" / time.strftime("%Y%m%d-%H%M%S")


def _by_expectation(config: pytest.Config) -> bool:
    return _one_of(config, "judge", "desired", "expected") == "expected"


def _one_of(config: pytest.Config, name: str, *choices: str) -> str:
    value = setting(config, name) or ""
    if value not in choices:
        raise pytest.UsageError(f"--harness-{name} is {' or '.join(choices)}, not {value!r}")
    return value


def _or_exit(stage: Callable[[], _T], kind: type[HarnessError] = InputError) -> _T:
    """Run a stage; errors of *kind* end the session with one message instead of one a test."""
    try:
        return stage()
    except kind as error:
        hint = f"\n  hint: {error.hint}" if error.hint else ""
        log = f"\n  log: {error.log}" if error.log else ""
        pytest.exit(f"{error.message}{hint}{log}", returncode=int(error.exit_code))


# -- fixtures -------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def pipeline(request: pytest.FixtureRequest) -> Iterator[Pipeline]:
    """The stages from source to running kernel, each done once a session."""
    session = _session(request.config)
    _or_exit(lambda: session.pipeline.check_machine(), HarnessError)
    yield session.pipeline
    session.close()


@pytest.fixture(scope="session")
def kernel(pipeline: Pipeline) -> KernelBuild:
    """The kernel under test: the chosen tree, position and profile, built."""
    return _or_exit(pipeline.build)


@pytest.fixture(scope="session")
def kernel_at(pipeline: Pipeline) -> Callable[[int], KernelBuild]:
    """Build (or take from the cache) the kernel at another position of the series.

    When that one does not build it is an error of the test that asked, and of no other.
    """
    return pipeline.build


@pytest.fixture(scope="session")
def image(pipeline: Pipeline, kernel: KernelBuild) -> Image:
    """The guest's root file system."""
    return _or_exit(lambda: pipeline.image(kernel))


@pytest.fixture(scope="session")
def boot_machine(
    request: pytest.FixtureRequest,
    pipeline: Pipeline,  # noqa: ARG001 - outlives the machines
) -> Callable[..., VirtualMachine]:
    """Start a machine of one's own: ``with boot_machine() as vm`` or ``boot_machine(position=0)``.

    The block owns it and ends it; what it prints is judged in whatever test runs meanwhile.
    """

    def boot(position: int | None = None) -> VirtualMachine:
        return _session(request.config).boot(position).machine

    return boot


@pytest.fixture(scope="session")
def updated_machine(
    request: pytest.FixtureRequest,
    kernel: KernelBuild,  # noqa: ARG001 - built before the clock of a boot runs
) -> UpdatedMachine:
    """Start a machine in its second kernel: ``with updated_machine(prepare) as update``.

    ``prepare`` gets an update in the first kernel, and preserves.  What it prepares is loaded and
    gone to once; every block then has a clone of its own, ``update.vm``, in which nothing has been
    retrieved yet.
    """
    from harness.liveupdate import LiveUpdate
    from harness.template import Step

    session = _session(request.config)

    @contextlib.contextmanager
    def start(prepare: Callable[[LiveUpdate], None]) -> Iterator[LiveUpdate]:
        def reach(vm: VirtualMachine) -> dict[str, Any]:
            update = LiveUpdate(vm)
            prepare(update)
            update.execute()
            return update.facts

        step = dataclasses.replace(Step.of(prepare), reach=reach)
        test = session.running
        started = session.boot(step=step)
        with started.machine:
            update = LiveUpdate.resume(started.machine, started.facts, kept=started.cloned)
            try:
                yield update
            finally:
                session.record(update, test)

    return start


@pytest.fixture
def machine(
    request: pytest.FixtureRequest,
    kernel: KernelBuild,  # noqa: ARG001 - built before the clock of a boot runs
) -> Iterator[VirtualMachine]:
    """A booted machine with the kernel under test.

    It is shared among tests that leave it clean; one that was updated, tainted, or that showed a
    splat is replaced.  ``@pytest.mark.fresh_machine`` asks for one that nobody has used.
    """
    session = _session(request.config)
    if request.node.get_closest_marker("fresh_machine") is not None:
        session.drop_shared()
    if session.shared is None:
        session.shared = session.boot().machine
    vm = session.shared
    yield vm
    if vm.clean_up() is not None:
        session.drop_shared()


@pytest.fixture
def guest(machine: VirtualMachine) -> Guest:
    """The machine over SSH.  After a live update use ``machine.guest``: it is a new connection."""
    return machine.guest


@pytest.fixture
def agent(machine: VirtualMachine) -> Callable[..., dict[str, Any]]:
    """Run an agent command in whatever kernel the machine runs; return its JSON answer."""
    return machine.agent


@pytest.fixture
def module(machine: VirtualMachine) -> KernelModule:
    """The test module, not loaded yet: ``module.load(flbs=2)``."""
    return machine.module


@pytest.fixture
def live_update(request: pytest.FixtureRequest) -> Iterator[Callable[..., LiveUpdate]]:
    """Start a live update of a machine: ``live_update(machine)``."""
    from harness.liveupdate import LiveUpdate

    made: list[LiveUpdate] = []

    def start(vm: VirtualMachine) -> LiveUpdate:
        made.append(LiveUpdate(vm))
        return made[-1]

    yield start
    record_updates(request, made)


def record_updates(request: pytest.FixtureRequest, updates: list[LiveUpdate]) -> None:
    """Enter finished live updates into the results under the requesting test or module."""
    for update in updates:
        _session(request.config).record(update, request.node.nodeid)


# -- expectations ---------------------------------------------------------------------------


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what there is nothing to ask about yet at the position under test."""
    if _SESSION in item.config.stash:
        item.config.stash[_SESSION].running = item.nodeid
    want = _expectation(item)
    if want.outcome is Expected.SKIPPED:
        pytest.skip(want.why)


def _expectation(item: pytest.Item) -> Expectation:
    """Return what is expected of *item*; without markers no kernel is asked for."""
    if _EXPECTATION not in item.stash:
        names = ("fails_before", "only_from")
        marks = [mark for name in names for mark in item.iter_markers(name)]
        item.stash[_EXPECTATION] = EVERYWHERE
        if marks:
            pipeline = _or_exit(lambda: _session(item.config).pipeline)
            item.stash[_EXPECTATION] = _or_exit(lambda: resolve(marks, pipeline.has_patch))
    return item.stash[_EXPECTATION]


def _compare(item: pytest.Item, report: Any) -> None:
    """Note what was expected; when expectations are judged, make the report say so.

    An expected failure becomes pytest's ``xfailed``, an unexpected pass a failure.
    """
    want, facts = _expectation(item), report.harness
    facts["expected"] = want.outcome.value
    failed = facts["outcome"] in (Outcome.FAILED.value, Outcome.CRASHED.value)
    if failed:
        as_expected = want.outcome in (Expected.FAILED, Expected.EITHER)
        facts["unexpected"] = not as_expected or not want.explains(facts["splats"])
    elif facts["outcome"] == Outcome.ERROR.value:
        facts["unexpected"] = True
    else:
        passed = report.when == "call" and report.passed
        facts["unexpected"] = passed and want.outcome is Expected.FAILED
    if not item.config.stash[_SESSION].by_expectation:
        return
    if failed and not facts["unexpected"]:
        report.outcome, report.wasxfail = "skipped", want.why
    elif facts["unexpected"] and report.passed:
        facts["outcome"] = Outcome.PASSED.value
        report.outcome, report.longrepr = "failed", f"it passes, but is stated: {want.why}"


# -- reports --------------------------------------------------------------------------------


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, Any, Any]:
    """Judge the kernel log, attach the console, and say which kind of trouble it was."""
    report = yield
    report.harness = {"outcome": None, "splats": [], "known": []}
    if call.excinfo is not None:
        _classify_error(call.excinfo.value, report, item.config.get_verbosity())
    if _SESSION in item.config.stash:
        _judge_consoles(item, report)
        _compare(item, report)
    return report


def _classify_error(error: BaseException, report: Any, verbosity: int) -> None:
    if not isinstance(error, HarnessError):
        # What a fixture asserts is a verdict as well; other trouble of a fixture is none.
        if report.failed:
            verdict = report.when == "call" or isinstance(error, AssertionError)
            outcome = Outcome.FAILED if verdict else Outcome.ERROR
            report.harness["outcome"] = outcome.value
        return
    if isinstance(error, KernelCrash):
        report.harness["outcome"] = Outcome.CRASHED.value
        if error.splat:
            report.sections.append(("kernel crash", error.splat))
    elif isinstance(error, InfrastructureError | InputError):
        report.harness["outcome"] = Outcome.ERROR.value
        # Where in the harness it was noticed helps nobody; -v -v shows it all the same.
        if verbosity < 2:
            report.longrepr = error.message
    if error.hint:
        report.sections.append(("hint", error.hint))
    if error.log:
        report.sections.append(("log", str(error.log)))


def _judge_consoles(item: pytest.Item, report: Any) -> None:
    """Look through what the kernels printed during this phase."""
    session = item.config.stash[_SESSION]
    if not session.watches:
        return
    from harness.kernel_log import classify, find_splats
    from harness.spec import load_known_issues

    expected = tuple(str(mark.args[0]) for mark in item.iter_markers("splat"))
    met: set[str] = item.stash.setdefault(_MET, set())
    for watch in list(session.watches):
        text = watch.machine.console.since(watch.judged)
        if watch.machine.closed:
            session.watches.remove(watch)
        if not text:
            continue
        watch.judged += len(text)
        _keep_console(session, item, report, text)
        verdict = classify(find_splats(text), load_known_issues(), expected)
        report.harness["known"] += [splat.title for splat in verdict.known]
        met |= {splat.title for splat in verdict.expected}
        for splat in verdict.unexpected:
            report.harness["splats"].append(splat.title)
            decoded = watch.machine.decode(splat)
            report.sections.append(("splat", decoded))
            with _splats_file(session, item).open("a") as stream:
                stream.write(f"{decoded}\n\n")
    # Trouble that comes with a splat is the kernel's, not the harness's.
    if report.harness["splats"] and (
        report.passed or report.harness["outcome"] == Outcome.ERROR.value
    ):
        trouble = "" if report.passed else f"\n{report.longrepr}"
        report.outcome, report.harness["outcome"] = "failed", Outcome.FAILED.value
        report.longrepr = "the kernel log shows: " + "; ".join(report.harness["splats"]) + trouble
    missing = [want for want in expected if not any(re.search(want, title) for title in met)]
    if report.when == "call" and report.passed and missing:
        report.outcome, report.harness["outcome"] = "failed", Outcome.FAILED.value
        report.longrepr = f"the kernel log does not show the expected splat: {missing[0]}"


def _keep_console(session: _Session, item: pytest.Item, report: Any, text: str) -> None:
    """Append to the test's console file; show the slice with a report that did not pass."""
    path = _console_file(session, item)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as stream:
        stream.write(f"==== {report.when}\n{text}")
        if not text.endswith("\n"):
            stream.write("\n")
    report.harness["console"] = str(path.relative_to(session.directory))
    lines = text.splitlines()
    if len(lines) > _CONSOLE_LINES:
        before = len(lines) - _CONSOLE_LINES
        lines = [f"({before} lines before these are in {path})", *lines[before:]]
    report.sections.append((f"console during {report.when}", "\n".join(lines)))


def _console_file(session: _Session, item: pytest.Item) -> Path:
    return session.directory / "console" / f"{sanitised(item.nodeid)}.log"


def _splats_file(session: _Session, item: pytest.Item) -> Path:
    return _console_file(session, item).with_suffix(".splats")


def sanitised(nodeid: str) -> str:
    """Turn a node id into a file name: without directories, plain characters only."""
    file, separator, rest = nodeid.partition("::")
    tail = file.rpartition("/")[2] + separator + rest
    return re.sub(r"[^A-Za-z0-9_.=+-]+", "-", tail).strip("-")[:150]


def pytest_report_teststatus(report: Any) -> tuple[str, str, str] | None:
    """Show trouble of the harness as an error and a dead kernel as a crash."""
    outcome = getattr(report, "harness", {}).get("outcome")
    if hasattr(report, "wasxfail"):
        return None
    if outcome == Outcome.ERROR.value:
        return "error", "E", "ERROR"
    if outcome == Outcome.CRASHED.value:
        return "failed", "C", "CRASHED"
    return None


class _Collector:
    """Turns reports into test results; lives on the node that writes them."""

    def __init__(self, session: _Session) -> None:
        self._session = session

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Merge the report of one phase, or of one subtest, into its test's result."""
        found = _result_of(report)
        before = self._session.tests.get(found.id)
        self._session.tests[found.id] = _merged(before, found) if before else found


def _result_of(report: Any) -> TestResult:
    extra = getattr(report, "harness", {})
    outcome = Outcome(extra.get("outcome") or report.outcome)
    unexpected = extra.get("unexpected", outcome not in (Outcome.PASSED, Outcome.SKIPPED))
    context = getattr(report, "context", None)
    name = report.nodeid.partition("tests/guest/")[2] or report.nodeid
    if context is not None and getattr(context, "msg", None):
        name = f"{name}::{context.msg}"
    message = ""
    if outcome is not Outcome.PASSED or unexpected:
        message = _message(report)
    return TestResult(
        id=name,
        outcome=outcome,
        seconds=report.duration,
        message=message,
        splats=tuple(extra.get("splats", ())),
        known_issues=tuple(extra.get("known", ())),
        console=extra.get("console"),
        expected=extra.get("expected", Expected.PASSED.value),
        unexpected=unexpected,
    )


def _message(report: Any) -> str:
    crash = getattr(report.longrepr, "reprcrash", None)
    if crash is not None:
        return str(crash.message)
    if isinstance(report.longrepr, tuple):
        return str(report.longrepr[2])
    return str(report.longrepr or "")


_GRAVITY = (Outcome.PASSED, Outcome.SKIPPED, Outcome.ERROR, Outcome.FAILED, Outcome.CRASHED)


def _merged(before: TestResult, now: TestResult) -> TestResult:
    worse = max(before, now, key=lambda result: _GRAVITY.index(result.outcome))
    return dataclasses.replace(
        worse,
        seconds=before.seconds + now.seconds,
        splats=before.splats + now.splats,
        known_issues=before.known_issues + now.known_issues,
        console=now.console or before.console,
        unexpected=before.unexpected or now.unexpected,
    )


def pytest_sessionstart(session: pytest.Session) -> None:
    """Collect results from the first report on."""
    state = _session(session.config)
    session.config.pluginmanager.register(_Collector(state), "harness-collector")


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Write the results, and tell infrastructure trouble from failing tests."""
    state = session.config.stash.get(_SESSION, None)
    if state is None or not state.used:
        return
    state.close()
    if _worker(session.config) is not None:
        session.config.workeroutput[_EVIDENCE] = json.dumps(state.evidence())  # type: ignore[attr-defined]
        return
    tests = tuple(state.tests.values())
    failed = any(
        test.unexpected and test.outcome is not Outcome.ERROR
        if state.by_expectation
        else test.outcome in (Outcome.FAILED, Outcome.CRASHED)
        for test in tests
    )
    if exitstatus == pytest.ExitCode.TESTS_FAILED and not failed:
        session.exitstatus = int(ExitCode.INFRASTRUCTURE)
    found = [item for item in (state.evidence(), *state.workers) if item is not None]
    if not found:
        return
    facts = found[0]["facts"]
    for other in found[1:]:
        facts["builds"] |= other["facts"]["builds"]
    results = RunResults(
        **facts,
        judge="expected" if state.by_expectation else "desired",
        tests=tests,
        live_updates=tuple(UpdateResult(**one) for item in found for one in item["live_updates"]),
        boots=tuple(
            BootResult(**one | {"outcome": Boot(one["outcome"])})
            for item in found
            for one in item["boots"]
        ),
        seconds=time.monotonic() - state.started,
    )
    results.write(state.directory / "results.json")


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell a worker of pytest-xdist where the results go."""
    node.workerinput[_RESULTS] = str(_session(node.config).directory)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:  # noqa: ARG001 - the hook's signature
    """Take what a worker of pytest-xdist found out."""
    carried = getattr(node, "workeroutput", {}).get(_EVIDENCE)
    if carried:
        _session(node.config).workers.append(json.loads(carried))


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Say where the evidence is."""
    state = config.stash.get(_SESSION, None)
    if state is not None and state.used:
        terminalreporter.write_line(f"logs and results: {state.directory}")
