# SPDX-License-Identifier: GPL-2.0-only
"""What a test's report says: what was expected, what the kernel printed, whose trouble it was.

A test fails when the kernel log shows a splat that it did not expect.  Trouble of the harness or
the machine is an *error* (no verdict), a kernel that dies is a *failure* shown as ``CRASHED``.
"""

from __future__ import annotations

import ast
import re
import textwrap
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

import pytest

from harness.base.errors import (
    HarnessError,
    InfrastructureError,
    InputError,
    KernelCrash,
    KexecRefused,
)
from harness.base.settings import UNTIL_FAILED
from harness.base.text import plain
from harness.base.trouble import trouble_of_host
from harness.plugin.options import profile_name
from harness.plugin.session import SESSION, Session, or_exit, session_of
from harness.results.expectation import (
    EVERYWHERE,
    MARKS,
    Expectation,
    Expected,
    beyond,
    resolve,
)
from harness.results.kernel_log import KnownIssue, classify, find_complaints, find_splats
from harness.results.results import Outcome
from harness.results.splat_forms import HANGS

_EXPECTATION = pytest.StashKey[Expectation]()
_MET = pytest.StashKey[set[str]]()

_CONSOLE_LINES = 60
"""Lines of the console that a report shows; all of them are in a file."""
_SPLATS_SHOWN = 20
"""How many splats a report shows with their stacks; all of them are in a file."""


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what there is nothing to ask about yet at the position under test."""
    if SESSION in item.config.stash:
        item.config.stash[SESSION].begin(item.nodeid)
    want = _expectation(item)
    if want.outcome is Expected.SKIPPED:
        pytest.skip(want.why)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, None, None]:
    """Take what was counted while the test ran, before another one can count on."""
    try:
        yield
    finally:
        if SESSION in item.config.stash:
            item.config.stash[SESSION].count()


def _expectation(item: pytest.Item) -> Expectation:
    """Return what is expected of *item*; without markers no kernel is asked for."""
    if _EXPECTATION not in item.stash:
        marks = [mark for name in MARKS for mark in item.iter_markers(name)]
        item.stash[_EXPECTATION] = EVERYWHERE
        if marks:
            pipeline = or_exit(lambda: session_of(item.config).pipeline)

            def has_feature(name: str) -> bool:
                return pipeline.features.has(name, pipeline.position().commit)

            item.stash[_EXPECTATION] = or_exit(
                lambda: resolve(marks, pipeline.has_patch, has_feature)
            )
    return item.stash[_EXPECTATION]


def _compare(item: pytest.Item, report: Any) -> None:
    """Note what was expected; when expectations are judged, make the report say so.

    An expected failure becomes pytest's ``xfailed``, an unexpected pass a failure.  A bug that the
    kernel is known to have is expected whoever judges.
    """
    want, facts = _expectation(item), report.harness
    facts["expected"] = want.outcome.value
    fix = item.get_closest_marker("fails_without")
    facts["bug"] = str(fix.args[0]) if fix is not None else ""
    passed = report.when == "call" and report.passed
    failed = facts["outcome"] in (Outcome.FAILED.value, Outcome.CRASHED.value)
    lost = facts["outcome"] == Outcome.ERROR.value
    facts["unexpected"] = lost or not want.is_met(
        facts["splats"], failed=failed, passed=passed, message=message_of(report)
    )
    stated = item.config.stash[SESSION].by_expectation
    if failed and not facts["unexpected"] and (stated or facts["bug"]):
        report.outcome, report.wasxfail = "skipped", want.why
    elif stated and facts["unexpected"] and report.passed:
        facts["outcome"] = Outcome.PASSED.value
        report.outcome, report.longrepr = "failed", f"it passes, but is stated: {want.why}"


def message_of(report: Any) -> str:
    """Return why a test did not pass; bare values are told with what was compared."""
    crash = getattr(report.longrepr, "reprcrash", None)
    if crash is not None:
        message = str(crash.message)
    elif isinstance(report.longrepr, tuple):
        message = str(report.longrepr[2])
    else:
        message = str(report.longrepr or "")
    asserted = getattr(report, "harness", {}).get("asserted", "")
    if asserted:
        message = f"{asserted} does not hold: {message.removeprefix('AssertionError: ')}"
    return plain(message)


def _find(item: pytest.Item, report: Any) -> None:
    """Turn what fails a test that asks for more than the series promises into a finding."""
    more = or_exit(lambda: beyond(tuple(item.iter_markers("beyond"))))
    if more is None:
        return
    facts = report.harness
    facts["beyond"], facts["weight"] = more.reason, more.weight
    strict = item.config.stash[SESSION].strict
    if report.failed and facts["outcome"] != Outcome.ERROR.value and not strict:
        facts["finding"], facts["unexpected"] = True, False
        report.outcome, report.wasxfail = "skipped", f"beyond: {more.reason}"


# -- reports --------------------------------------------------------------------------------


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, Any, Any]:
    """Judge the kernel log, attach the console, and say which kind of trouble it was."""
    report = yield
    report.harness = {"outcome": None, "splats": [], "known": [], "exception": None}
    if call.excinfo is not None:
        if report.failed:
            report.harness["exception"] = _name_of(call.excinfo.type)
            report.harness["asserted"] = _asserted(call.excinfo)
        _classify_error(call.excinfo.value, report, item.config)
    if SESSION in item.config.stash:
        try:
            _judge_consoles(item, report)
        except OSError as error:
            trouble = trouble_of_host(error)
            if trouble is None:
                raise
            # Without evidence there is no verdict, for this test and for those to come.
            pytest.exit(trouble.message, returncode=int(trouble.exit_code))
        _compare(item, report)
        _find(item, report)
    no_verdict = report.harness["outcome"] == Outcome.ERROR.value
    if report.failed and not no_verdict and item.config.getoption(UNTIL_FAILED):
        item.session.shouldfail = "a test failed"
    return report


def _asserted(error: pytest.ExceptionInfo[BaseException]) -> str:
    """Return the source of an assertion that failed without words of its own, on one line."""
    if not error.errisinstance(AssertionError) or not str(error.value).startswith("assert "):
        return ""
    try:
        (statement,) = ast.parse(textwrap.dedent(str(error.traceback[-1].statement))).body
    except (SyntaxError, ValueError):
        return ""
    return ast.unparse(statement.test) if isinstance(statement, ast.Assert) else ""


def _name_of(kind: type[BaseException]) -> str:
    return kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"


def _classify_error(error: BaseException, report: Any, config: pytest.Config) -> None:
    if not isinstance(error, HarnessError):
        # What a fixture asserts is a verdict as well; other trouble of a fixture is none.
        if report.failed:
            verdict = report.when == "call" or isinstance(error, AssertionError)
            verdict &= trouble_of_host(error) is None
            outcome = Outcome.FAILED if verdict else Outcome.ERROR
            report.harness["outcome"] = outcome.value
        return
    if isinstance(error, KernelCrash):
        known = _is_known(error, session_of(config).known_issues)
        report.harness["outcome"] = (Outcome.ERROR if known else Outcome.CRASHED).value
        if error.splat:
            report.sections.append(("kernel crash", error.splat))
    elif isinstance(error, KexecRefused):
        # The kernel says so itself, with an errno.
        report.harness["outcome"] = Outcome.FAILED.value
    elif isinstance(error, InfrastructureError | InputError):
        report.harness["outcome"] = Outcome.ERROR.value
        # Where in the harness it was noticed helps nobody; -v -v shows it all the same.
        if config.get_verbosity() < 2:
            report.longrepr = error.message
    if error.hint:
        report.sections.append(("hint", error.hint))
    if error.log:
        report.sections.append(("log", str(error.log)))


def _is_known(crash: KernelCrash, known: tuple[KnownIssue, ...]) -> bool:
    """Return whether a kernel died of nothing but known issues: that is no verdict on it."""
    verdict = classify(find_splats(crash.splat or ""), known, ())
    return bool(verdict.known) and not verdict.unexpected


def _judge_consoles(item: pytest.Item, report: Any) -> None:
    """Look through what the kernels printed during this phase."""
    session = item.config.stash[SESSION]
    if not session.watches:
        return
    expected = _expected_splats(item)
    met: set[str] = item.stash.setdefault(_MET, set())
    starved: list[str] = []
    stopped: list[str] = []
    for watch in list(session.watches):
        if (halt := watch.why_stopped()) is not None:
            stopped.append(halt)
        text = watch.machine.console.since(watch.judged)
        if watch.machine.closed:
            session.watches.remove(watch)
        if not text:
            continue
        watch.judged += len(text)
        _keep_console(session, item, report, text)
        splats = (*find_splats(text), *find_complaints(text, session.suite.complaints))
        verdict = classify(splats, session.known_issues, expected)
        report.harness["known"] += [splat.title for splat in verdict.known]
        met |= {splat.title for splat in verdict.expected}
        hangs = any(splat.kind in HANGS for splat in verdict.unexpected)
        looked = watch.machine.processor_time
        why = looked.why_starved() if hangs and looked is not None else None
        for splat in verdict.unexpected:
            if why is not None and splat.kind in HANGS:
                starved.append(f"{splat.title}: {why}")
            else:
                report.harness["splats"].append(splat.title)
        if verdict.unexpected:
            decoded = watch.machine.decode(verdict.unexpected)
            _keep_splats(_splats_file(session, item), report, decoded)
    if starved:
        report.sections.append(("starved", "\n".join(starved)))
    crashed = report.harness["outcome"] == Outcome.CRASHED.value
    if starved and not report.harness["splats"] and (report.passed or crashed):
        # It is asked again: what befell a machine may not befall the next.
        report.outcome, report.harness["outcome"] = "failed", Outcome.ERROR.value
        trouble = "" if report.passed else f"\n{report.longrepr}"
        report.longrepr = f"no verdict, {'; '.join(starved)}{trouble}"
        return
    if stopped and report.failed and not crashed and not report.harness["splats"]:
        report.harness |= {"outcome": Outcome.ERROR.value, "asserted": ""}
        report.longrepr = f"no verdict, {'; '.join(stopped)}\n{report.longrepr}"
        return
    # Trouble that comes with a splat is the kernel's, not the harness's.
    if report.harness["splats"] and (
        report.passed or report.harness["outcome"] == Outcome.ERROR.value
    ):
        trouble = "" if report.passed else f"\n{report.longrepr}"
        report.outcome, report.harness["outcome"] = "failed", Outcome.FAILED.value
        titles = "; ".join(dict.fromkeys(report.harness["splats"]))
        report.longrepr = f"the kernel log shows: {titles}{trouble}"
    missing = [want for want in expected if not any(re.search(want, title) for title in met)]
    if report.when == "call" and report.passed and missing:
        report.outcome, report.harness["outcome"] = "failed", Outcome.FAILED.value
        report.longrepr = f"the kernel log does not show the expected splat: {missing[0]}"


def _expected_splats(item: pytest.Item) -> tuple[str, ...]:
    """Return the titles, regular expressions, that the kernel log must show on this profile."""
    profile = profile_name(item.config)
    wanted = []
    for mark in item.iter_markers("splat"):
        only = mark.kwargs.get("profiles") or (profile,)
        if profile in ((only,) if isinstance(only, str) else only):
            wanted.append(str(mark.args[0]))
    return tuple(wanted)


def _keep_console(session: Session, item: pytest.Item, report: Any, text: str) -> None:
    """Append to the test's console file; show the slice with a report that did not pass."""
    path = _console_file(session, item)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as stream:
        stream.write(f"==== {report.when}\n{text}")
        if not text.endswith("\n"):
            stream.write("\n")
    report.harness["console"] = str(path.relative_to(session.directory))
    lines = [plain(line) for line in text.splitlines()]
    if len(lines) > _CONSOLE_LINES:
        before = len(lines) - _CONSOLE_LINES
        lines = [f"({before} lines before these are in {path})", *lines[before:]]
    report.sections.append((f"console during {report.when}", "\n".join(lines)))


def _keep_splats(path: Path, report: Any, decoded: Sequence[str]) -> None:
    """Append to the test's file of splats; show the first ones with the report."""
    with path.open("a") as stream:
        stream.writelines(f"{text}\n\n" for text in decoded)
    report.sections += [("splat", text) for text in decoded[:_SPLATS_SHOWN]]
    if left := decoded[_SPLATS_SHOWN:]:
        report.sections.append(("splat", f"({len(left)} more are in {path})"))


def _console_file(session: Session, item: pytest.Item) -> Path:
    return session.directory / "console" / f"{sanitised(item.nodeid)}.log"


def _splats_file(session: Session, item: pytest.Item) -> Path:
    return _console_file(session, item).with_suffix(".splats")


def sanitised(nodeid: str) -> str:
    """Turn a node id into a file name: without directories, plain characters only."""
    file, separator, rest = nodeid.partition("::")
    tail = file.rpartition("/")[2] + separator + rest
    return re.sub(r"[^A-Za-z0-9_.=+-]+", "-", tail).strip("-")[:150]


def pytest_report_teststatus(report: Any) -> tuple[str, str, str] | None:
    """Show trouble of the harness as an error and a dead kernel as a crash."""
    outcome = getattr(report, "harness", {}).get("outcome")
    if getattr(report, "harness", {}).get("finding") and not report.failed:
        return "findings", "b", "FINDING"  # beyond the promise; F is what failed
    if hasattr(report, "wasxfail"):
        return None
    if outcome == Outcome.ERROR.value:
        return "error", "E", "ERROR"
    if outcome == Outcome.CRASHED.value:
        return "failed", "C", "CRASHED"
    return None
