# SPDX-License-Identifier: GPL-2.0-only
"""What a pytest session came to, collected from its reports and workers, and written."""

from __future__ import annotations

import dataclasses
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from harness.base.errors import ExitCode
from harness.plugin.options import setting, worker_of
from harness.plugin.session import SESSION, SHARED, Findings, Session, or_exit, session_of
from harness.plugin.verdict import message_of
from harness.results.directory import clear_results, new_name
from harness.results.expectation import Expected
from harness.results.form import from_plain, to_plain
from harness.results.results import Outcome, RunResults, TestResult

_FINDINGS = "harness_findings"
"""What a worker of pytest-xdist brings back."""


class _Collector:
    """Turns reports into test results; lives on the node that writes them."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Merge the report of one phase, or of one subtest, into its test's result."""
        found = _result_of(report, self._session.test_id(report.nodeid))
        before = self._session.tests.get(found.id)
        self._session.tests[found.id] = _merged(before, found) if before else found

    @pytest.hookimpl(optionalhook=True)
    def pytest_handlecrashitem(self, report: Any) -> None:
        """Take a worker of pytest-xdist that died under a test for trouble of the host."""
        report.harness = {"outcome": Outcome.ERROR.value, "unexpected": True}
        self._session.lost_worker = True

    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        """Note that somebody interrupted the session, or a worker of it.

        pytest interrupts itself with words of its own, when a file of tests cannot be imported.
        """
        by_worker = "keyboard-interrupt" in str(excinfo.value)
        self._session.interrupted = excinfo.type is KeyboardInterrupt or by_worker


def _result_of(report: Any, name: str) -> TestResult:
    extra = getattr(report, "harness", {})
    outcome = Outcome(extra.get("outcome") or report.outcome)
    unexpected = extra.get("unexpected", outcome not in (Outcome.PASSED, Outcome.SKIPPED))
    context = getattr(report, "context", None)
    if context is not None and getattr(context, "msg", None):
        name = f"{name}::{context.msg}"
    message = ""
    if outcome is not Outcome.PASSED or unexpected:
        message = message_of(report)
    return TestResult(
        id=name,
        outcome=outcome,
        seconds=report.duration,
        message=message,
        splats=tuple(extra.get("splats", ())),
        known_issues=tuple(extra.get("known", ())),
        console=extra.get("console"),
        expected=Expected(extra.get("expected", Expected.PASSED)),
        unexpected=unexpected,
        bug=extra.get("bug", ""),
        beyond=extra.get("beyond", ""),
        weight=extra.get("weight", ""),
        finding=extra.get("finding", False),
        exception=extra.get("exception"),
    )


_GRAVITY = (Outcome.PASSED, Outcome.SKIPPED, Outcome.ERROR, Outcome.FAILED, Outcome.CRASHED)


def _merged(before: TestResult, now: TestResult) -> TestResult:
    worse = max(before, now, key=lambda result: _GRAVITY.index(result.outcome))
    return dataclasses.replace(
        worse,
        exception=worse.exception or before.exception or now.exception,
        seconds=before.seconds + now.seconds,
        splats=before.splats + now.splats,
        known_issues=before.known_issues + now.known_issues,
        console=now.console or before.console,
        unexpected=before.unexpected or now.unexpected,
        finding=before.finding or now.finding,
    )


def pytest_sessionstart(session: pytest.Session) -> None:
    """Collect results from the first report on, into a directory without any of an earlier run."""
    state = session_of(session.config)
    given = setting(session.config, "results")
    own = worker_of(session.config) is None and not session.config.getoption("collectonly")
    if given and own:
        or_exit(lambda: clear_results(Path(given)))
    session.config.pluginmanager.register(_Collector(state), "harness-collector")


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Write the results, and tell infrastructure trouble from failing tests."""
    state = session.config.stash.get(SESSION, None)
    if state is None:
        return
    if state.interrupted and state.is_run and worker_of(session.config) is None:
        # pytest's own is that of bad input.
        session.exitstatus = int(ExitCode.INTERRUPTED)
    if not state.used:
        return
    state.close()
    own = state.findings()
    if worker_of(session.config) is not None:
        if own is not None:
            session.config.workeroutput[_FINDINGS] = to_plain(own)  # type: ignore[attr-defined]
        return
    tests = tuple(state.tests.values())
    judge = "expected" if state.by_expectation else "desired"
    failed = any(test.is_bad(judge) for test in tests)
    if exitstatus == pytest.ExitCode.TESTS_FAILED and not failed:
        session.exitstatus = int(ExitCode.INFRASTRUCTURE)
    found = [item for item in (own, *state.workers) if item is not None]
    if not found:
        return
    facts = found[0].facts
    results = RunResults(
        kernel=facts.kernel,
        series=facts.series,
        profile=facts.profile,
        accel=facts.accel,
        machine=facts.machine,
        builds={number: key for item in found for number, key in item.facts.builds.items()},
        started=state.began.isoformat(timespec="seconds"),
        seconds=time.monotonic() - state.started,
        tests=tests,
        boots=tuple(boot for item in found for boot in item.boots),
        extras={
            key: tuple(one for item in found for one in item.extras.get(key, ()))
            for key in dict.fromkeys(key for item in found for key in item.extras)
        },
        judge=judge,
        complete=_came_to_its_end(session, exitstatus, tests),
    )
    results.write(state.directory / "results.json")


def _came_to_its_end(session: pytest.Session, exitstatus: int, tests: Sequence[TestResult]) -> bool:
    """Return whether no test is missing, unless one that fails was to end the session."""
    if exitstatus not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
        return False
    stopped = session.shouldfail or session.shouldstop
    return not stopped or any(test.outcome.is_failure for test in tests)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell a worker of pytest-xdist how the directory for the results is called.

    It makes the directory when it needs it, which unit tests never do.
    """
    state = session_of(node.config)
    state.shared_name = state.shared_name or f"{new_name()}-{uuid.uuid4().hex[:8]}"
    node.workerinput[SHARED] = state.shared_name


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:  # noqa: ARG001 - the hook's signature
    """Take what a worker of pytest-xdist found out."""
    carried = getattr(node, "workeroutput", {}).get(_FINDINGS)
    if carried:
        session_of(node.config).workers.append(from_plain(Findings, carried))


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Say where the evidence is."""
    state = config.stash.get(SESSION, None)
    for test in state.tests.values() if state is not None else ():
        if test.finding:
            first = test.message.partition("\n")[0]
            terminalreporter.write_line(f"FINDING ({test.weight}) {test.id} - {first}")
            terminalreporter.write_line(f"    beyond what the series promises: {test.beyond}")
    if state is not None and state.used:
        terminalreporter.write_line(f"logs and results: {state.directory}")
