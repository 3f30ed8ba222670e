# SPDX-License-Identifier: GPL-2.0-only
"""Which kernel has which of the bugs that a suite knows, as its source says and as tests show it.

A bug is known by the feature that fixes it.  Tests that are about it carry the marker
``fails_without``: they fail on a kernel without the fix, in words that are stated, and pass on one
with it.  What the suite's series fixes itself is shown by tests with ``fails_before(N, bug=...)``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from harness.base.errors import ExitCode
from harness.base.text import plural
from harness.results.form import read_file, to_plain
from harness.results.results import Outcome, TestResult

FILE = "bugs.json"
SCHEMA = 1


class State(StrEnum):
    """What is known of a bug on one kernel.

    ``SHOWN``: the fix is missing, and a test failed of it.  ``FIXED``: the fix is there, and the
    tests that are about the bug pass.  ``NOT_SHOWN``: the fix is missing; no test is about it here,
    or only such as fail by luck, and did not.  ``NOT_TRIED``: the fix is there, and no test is
    about the bug.  ``WRONG``: tests and source contradict each other.
    """

    SHOWN = "shown"
    FIXED = "fixed"
    NOT_SHOWN = "not shown"
    NOT_TRIED = "fixed, not tried"
    NO_VERDICT = "no verdict"
    WRONG = "wrong"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bug:
    """A bug that the suite knows.

    :param feature: what a kernel with the fix has.
    :param what: the bug, one line.
    :param fixed_in: the first release with the fix.
    """

    feature: str
    what: str
    fixed_in: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BugResult:
    """A bug on one kernel.

    :param kernel: as it was named.
    :param tests: those that are about it and were not skipped: id -> outcome.
    :param message: what the test said that decides; empty when all passed.
    """

    feature: str
    kernel: str
    state: State
    tests: Mapping[str, Outcome]
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelRun:
    """The tests of one kernel.

    :param release: what ``uname -r`` says there; empty when nothing was built.
    :param directory: results and logs.
    :param seconds: what it took this time.
    :param cached: whether the results came from the cache.
    :param reproduce: the command line that does it again.
    """

    kernel: str
    release: str
    directory: Path
    seconds: float
    cached: bool
    reproduce: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BugsResults:
    """Which kernel has which bug.

    :param results: by bug, then by kernel.
    """

    profile: str
    bugs: tuple[Bug, ...]
    kernels: tuple[KernelRun, ...]
    results: tuple[BugResult, ...]

    def result(self, feature: str, kernel: str) -> BugResult:
        """Return what is known of a bug on a kernel.

        :raises KeyError: when one of them is none of these.
        """
        for result in self.results:
            if (result.feature, result.kernel) == (feature, kernel):
                return result
        raise KeyError(f"{feature} on {kernel}")

    @property
    def exit_code(self) -> ExitCode:
        """What the command exits with; a contradiction weighs more than trouble of the host."""
        states = {result.state for result in self.results}
        if State.WRONG in states:
            return ExitCode.TESTS_FAILED
        return ExitCode.INFRASTRUCTURE if State.NO_VERDICT in states else ExitCode.PASSED

    @property
    def summary(self) -> str:
        """How many bugs are what, one line."""
        counts = {state: sum(result.state is state for result in self.results) for state in State}
        said = ", ".join(f"{count} {state.value}" for state, count in counts.items() if count)
        kernels = plural(len(self.kernels), "kernel")
        return f"{plural(len(self.bugs), 'bug')} on {kernels}: {said or 'nothing known'}"

    def to_json(self) -> dict[str, Any]:
        """Return the documented JSON form."""
        return {"schema": SCHEMA, **to_plain(self)}


def read_bugs(path: Path) -> BugsResults:
    """Read what :meth:`BugsResults.to_json` returned.

    :raises SpecError: when it is missing, of another schema, or damaged.
    """
    return read_file(path, BugsResults, SCHEMA)


def state_of(tests: Sequence[TestResult], *, has_fix: bool) -> tuple[State, TestResult | None]:
    """Return what a kernel's tests say of a bug, and the one that decides; ``None`` when all do.

    :param tests: those that are about the bug.
    :param has_fix: whether the kernel's source has the fix.
    """
    deciding = (
        (State.WRONG, [t for t in tests if t.unexpected and t.outcome is not Outcome.ERROR]),
        (State.SHOWN, [t for t in tests if t.outcome.is_failure and not t.unexpected]),
        (State.NO_VERDICT, [t for t in tests if t.outcome is Outcome.ERROR]),
    )
    for state, found in deciding:
        if found:
            return state, found[0]
    if not has_fix:
        return State.NOT_SHOWN, None
    passed = any(test.outcome is Outcome.PASSED for test in tests)
    return (State.FIXED if passed else State.NOT_TRIED), None
