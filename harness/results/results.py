# SPDX-License-Identifier: GPL-2.0-only
"""Results as values, as JSON (``docs/results.md`` is the schema) and as KTAP."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from harness.base.arch import architecture
from harness.results.expectation import WEIGHTS, Expected
from harness.results.facts import Provenance
from harness.results.form import read_file, to_plain, write_file, write_text

SCHEMA = 3
"""Version of the JSON form; grows when a reader of the old form would go wrong."""


class Outcome(StrEnum):
    """What became of a test.

    ``ERROR`` is no verdict: the harness or the machine let us down.  ``CRASHED`` is a verdict:
    the kernel under test died.
    """

    PASSED = "passed"
    FAILED = "failed"
    CRASHED = "crashed"
    ERROR = "error"
    SKIPPED = "skipped"

    @property
    def is_failure(self) -> bool:
        """Whether the kernel does not do what the test asks for."""
        return self in (Outcome.FAILED, Outcome.CRASHED)


class Standing(StrEnum):
    """What a test says, as it is judged; trouble of the host or the machine says nothing."""

    GOOD = "good"
    BAD = "bad"
    NO_VERDICT = "no verdict"


@dataclass(frozen=True, slots=True, kw_only=True)
class TestResult:
    """One test's verdict and its evidence.

    :param id: the pytest node id below the suite's tests.
    :param seconds: wall clock time of all its phases.
    :param message: why it did not pass, one paragraph; empty when it did.
    :param splats: titles of splats in the kernel log that nobody expected.
    :param known_issues: titles of splats that are on the list of known issues.
    :param console: the console slice, relative to the results directory, or ``None``.
    :param expected: what its markers state for the position.
    :param unexpected: whether it did something else; an error always is.
    :param bug: the feature that fixes the bug that it shows; empty when it is not about one.
    :param beyond: why it asks for more than the series promises; empty when it does not.
    :param weight: of what it would find: ``low``, ``medium`` or ``high``; empty without *beyond*.
    :param finding: whether it did not come to what it asks beyond the promise.  That is told apart
        from what is unexpected, and says nothing against the series.
    :param exception: the type of the exception that ended it, as Python names it (one that is not
        built in with its module); ``None`` when none did.
    """

    __test__ = False  # not a test class, whatever pytest thinks of its name

    id: str
    outcome: Outcome
    seconds: float
    message: str = ""
    splats: tuple[str, ...] = ()
    known_issues: tuple[str, ...] = ()
    console: str | None = None
    expected: Expected = Expected.PASSED
    unexpected: bool = False
    bug: str = ""
    beyond: str = ""
    weight: str = ""
    finding: bool = False
    exception: str | None = None

    @property
    def shows_bug(self) -> bool:
        """Whether it failed as a kernel without the fix must: nothing against a series."""
        return bool(self.bug) and self.outcome.is_failure and not self.unexpected

    def standing(self, judge: str) -> Standing:
        """Return what it says about the kernel.

        :param judge: by what, see :class:`RunResults`.
        """
        if self.outcome is Outcome.ERROR:
            return Standing.NO_VERDICT
        if self.finding or self.shows_bug:
            return Standing.GOOD
        bad = self.unexpected if judge == "expected" else self.outcome.is_failure
        return Standing.BAD if bad else Standing.GOOD

    def is_bad(self, judge: str) -> bool:
        """Return whether it speaks against the kernel."""
        return self.standing(judge) is Standing.BAD


class Boot(StrEnum):
    """What became of a boot.

    Only ``CRASHED`` is a verdict.  ``UNUSABLE``: the kernel did not come as far as to be tested,
    which a slow host can do as well.  ``ERROR``: trouble of the host or the machine.
    """

    OK = "ok"
    CRASHED = "crashed"
    UNUSABLE = "unusable"
    ERROR = "error"


@dataclass(frozen=True, slots=True, kw_only=True)
class BootResult:
    """One boot of a machine.

    :param seconds: from QEMU's start until the guest answered over SSH, or until it was given up.
    :param message: why it failed; empty when it did not.
    :param machine: the machine's directory, relative to the results directory.
    :param cloned: whether it was cloned from a template; *seconds* are those of the clone, and of
        making the template when there was none.
    :param replaced: why tests could not share it any longer; empty when they could.
    :param replaced_after: the test after which that was so; empty before there was one.
    """

    release: str
    outcome: Boot
    seconds: float
    message: str
    machine: str
    cloned: bool = False
    replaced: str = ""
    replaced_after: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResults(Provenance):
    """Everything one run found out.

    :param started: when, as RFC 3339 has it, with the time zone.
    :param seconds: what it took.
    :param boots: every machine that was booted, in order.
    :param extras: what the suite's own tests entered, as JSON can hold it: key -> items
        (``harness/report/sections.py`` has how they are shown).
    :param judge: ``desired``: by what the series is to bring; ``expected``: by what the tests
        state for the position.
    :param complete: whether pytest went on to the end, and was not ended by an error of its own
        or by who ran it: tests may be missing then.
    :param reproduce: the command line that runs it again; empty when pytest was called as such.
    """

    started: str
    seconds: float
    tests: tuple[TestResult, ...]
    boots: tuple[BootResult, ...] = ()
    extras: Mapping[str, tuple[Mapping[str, Any], ...]] = field(default_factory=dict)
    judge: str = "desired"
    complete: bool = True
    reproduce: str = ""

    @property
    def counts(self) -> dict[str, int]:
        """How many tests ended with each outcome, all outcomes named."""
        found = Counter(test.outcome for test in self.tests)
        return {outcome.value: found[outcome] for outcome in Outcome} | {"total": len(self.tests)}

    @property
    def kind(self) -> str:
        """The profile, and the architecture where it is not this host's: ``default@aarch64``."""
        arch = self.machine.arch
        return self.profile if arch == architecture().name else f"{self.profile}@{arch}"

    @property
    def findings(self) -> tuple[TestResult, ...]:
        """What tests found that ask for more than the series promises, the weightiest first."""
        found = [test for test in self.tests if test.finding]
        return tuple(sorted(found, key=lambda test: WEIGHTS.index(test.weight), reverse=True))

    @property
    def known_bugs(self) -> frozenset[str]:
        """The features that fix what tests show: the kernel has these bugs."""
        return frozenset(test.bug for test in self.tests if test.shows_bug)

    def with_later(self, later: RunResults, directory: str) -> RunResults:
        """Return these results with those of tests that were asked again.

        :param directory: where the later ones' files are, as seen from these.
        """
        before = {test.id: test for test in self.tests}
        tests = dict(before)
        for test in later.tests:
            first = before.get(test.id)
            if first is not None and first.outcome is not Outcome.ERROR:
                continue  # it ran again beside another of its function
            said = f"no verdict at first: {first.message}" if first is not None else ""
            tests[test.id] = replace(
                test,
                message=test.message or said,
                console=f"{directory}/{test.console}" if test.console else None,
            )
        boots = (replace(boot, machine=f"{directory}/{boot.machine}") for boot in later.boots)
        return replace(
            self,
            tests=tuple(tests.values()),
            extras={
                key: (*self.extras.get(key, ()), *later.extras.get(key, ()))
                for key in {**self.extras, **later.extras}
            },
            boots=(*self.boots, *boots),
            builds={**self.builds, **later.builds},
            seconds=self.seconds + later.seconds,
        )

    def to_json(self) -> dict[str, Any]:
        """Return the documented JSON form."""
        return {"schema": SCHEMA, **to_plain(self), "counts": self.counts}

    def to_ktap(self) -> str:
        """Return the tests as KTAP (``Documentation/dev-tools/ktap.rst``).

        A test that does what is expected of it at an early position is ``ok``; one without a
        verdict is skipped, as there is no other word for it.
        """
        lines = ["KTAP version 1", f"1..{len(self.tests)}"]
        for number, test in enumerate(self.tests, 1):
            failed = test.is_bad(self.judge)
            name = test.id.replace("#", "\\#")
            line = f"{'not ok' if failed else 'ok'} {number} {name}"
            if test.outcome is Outcome.SKIPPED:
                line += " # SKIP"
            elif test.outcome is Outcome.ERROR:
                line += " # SKIP no verdict"
            elif not failed and test.outcome is not Outcome.PASSED:
                line += " # XFAIL"
            lines.append(line)
        return "\n".join(lines) + "\n"

    def write(self, path: Path) -> None:
        """Write the JSON form to *path*, whole or not at all, and the KTAP form beside it."""
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path.with_suffix(".ktap"), self.to_ktap())
        write_file(path, self.to_json())


def read_results(path: Path) -> RunResults:
    """Read what :meth:`RunResults.write` wrote.

    :raises SpecError: when it is missing, of another schema, or damaged.
    """
    return read_file(path, RunResults, SCHEMA)
