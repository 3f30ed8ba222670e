# SPDX-License-Identifier: GPL-2.0-only
"""Results as values, as JSON (``docs/results.md`` is the schema) and as KTAP."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from harness.base.errors import SpecError

SCHEMA = 2
"""Version of the JSON form; grows when a reader of the old form would go wrong."""


WEIGHTS = ("low", "medium", "high")
"""Of a finding: a matter of taste, a weakness that somebody can run into, a bug."""


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

    :param id: the pytest node id below ``tests/guest``.
    :param seconds: wall clock time of all its phases.
    :param message: why it did not pass, one paragraph; empty when it did.
    :param splats: titles of splats in the kernel log that nobody expected.
    :param known_issues: titles of splats that are on the list of known issues.
    :param console: the console slice, relative to the results directory; ``None`` without a VM.
    :param expected: what its markers state for the position: ``passed``, ``failed``, ``either``
        or ``skipped``.
    :param unexpected: whether it did something else; an error always is.
    :param beyond: why it asks for more than the series promises; empty when it does not.
    :param weight: of what it would find: ``low``, ``medium`` or ``high``; empty without *beyond*.
    :param finding: whether it did not come to what it asks beyond the promise.  That is told apart
        from what is unexpected, and says nothing against the series.
    """

    __test__ = False  # not a test class, whatever pytest thinks of its name

    id: str
    outcome: Outcome
    seconds: float
    message: str = ""
    splats: tuple[str, ...] = ()
    known_issues: tuple[str, ...] = ()
    console: str | None = None
    expected: str = "passed"
    unexpected: bool = False
    beyond: str = ""
    weight: str = ""
    finding: bool = False

    def standing(self, judge: str) -> Standing:
        """Return what it says about the kernel.

        :param judge: by what, see :class:`RunResults`.
        """
        if self.outcome is Outcome.ERROR:
            return Standing.NO_VERDICT
        if self.finding:
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
    """

    release: str
    outcome: Boot
    seconds: float
    message: str
    machine: str
    cloned: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResults:
    """Everything one run found out.

    :param boots: every machine that was booted, in order.
    :param extras: what the suite's own tests entered, as JSON can hold it: key -> items
        (``harness/report/sections.py`` has how they are shown).
    :param builds: position -> cache key, of every kernel that was used.
    :param judge: ``desired``: by what the series is to bring; ``expected``: by what the tests
        state for the position.
    """

    kernel: Mapping[str, Any]
    series: Mapping[str, Any]
    profile: str
    accel: str
    machine: Mapping[str, Any]
    tests: tuple[TestResult, ...]
    seconds: float
    extras: Mapping[str, tuple[Mapping[str, Any], ...]] = field(default_factory=dict)
    judge: str = "desired"
    boots: tuple[BootResult, ...] = ()
    builds: Mapping[str, str] = field(default_factory=dict)

    @property
    def counts(self) -> dict[str, int]:
        """How many tests ended with each outcome, all outcomes named."""
        found = Counter(test.outcome for test in self.tests)
        return {outcome.value: found[outcome] for outcome in Outcome} | {"total": len(self.tests)}

    @property
    def findings(self) -> tuple[TestResult, ...]:
        """What tests found that ask for more than the series promises, the weightiest first."""
        found = [test for test in self.tests if test.finding]
        return tuple(sorted(found, key=lambda test: WEIGHTS.index(test.weight), reverse=True))

    def with_later(self, later: RunResults, directory: str) -> RunResults:
        """Return these results with those of tests that were asked again.

        :param directory: where the later ones' files are, as seen from these.
        """
        before = {test.id: test for test in self.tests}
        tests = dict(before)
        for test in later.tests:
            first = before.get(test.id)
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
        return {
            "schema": SCHEMA,
            "kernel": dict(self.kernel),
            "series": dict(self.series),
            "profile": self.profile,
            "accel": self.accel,
            "judge": self.judge,
            "machine": dict(self.machine),
            "builds": dict(self.builds),
            "boots": [_plain(boot) for boot in self.boots],
            "tests": [_plain(test) for test in self.tests],
            "extras": {key: [dict(item) for item in items] for key, items in self.extras.items()},
            "counts": self.counts,
            "seconds": round(self.seconds, 3),
        }

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
        for target, text in (
            (path.with_suffix(".ktap"), self.to_ktap()),
            (path, json.dumps(self.to_json(), indent=2) + "\n"),
        ):
            making = target.with_name(f".{target.name}.new")
            making.write_text(text)
            making.replace(target)


def read_results(path: Path) -> RunResults:
    """Read what :meth:`RunResults.write` wrote.

    :raises SpecError: when the file is missing or is of another schema.
    """
    try:
        data = json.loads(path.read_text())
        if data["schema"] != SCHEMA:
            raise SpecError(f"{path}: schema {data['schema']}, this harness reads {SCHEMA}")
        return RunResults(
            kernel=data["kernel"],
            series=data["series"],
            profile=data["profile"],
            accel=data["accel"],
            machine=data["machine"],
            tests=tuple(
                TestResult(
                    **_known(TestResult, item)
                    | {
                        "outcome": Outcome(item["outcome"]),
                        "splats": tuple(item["splats"]),
                        "known_issues": tuple(item["known_issues"]),
                    }
                )
                for item in data["tests"]
            ),
            extras={key: tuple(items) for key, items in data["extras"].items()},
            seconds=data["seconds"],
            judge=data.get("judge", "desired"),
            boots=tuple(
                BootResult(**_known(BootResult, item) | {"outcome": Boot(item["outcome"])})
                for item in data.get("boots", ())
            ),
            builds=data.get("builds", {}),
        )
    except OSError as error:
        raise SpecError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise SpecError(f"{path}: not a results file: {error}") from error


def _known(kind: Any, item: dict[str, Any]) -> dict[str, Any]:
    """Return what this harness knows of *item*: keys may be added within a schema."""
    names = {field.name for field in dataclasses.fields(kind)}
    return {key: value for key, value in item.items() if key in names}


def _plain(value: Any) -> dict[str, Any]:
    data = dataclasses.asdict(value)
    for key, item in data.items():
        if isinstance(item, float):
            data[key] = round(item, 3)
        elif isinstance(item, dict):
            data[key] = {k: round(v, 3) if isinstance(v, float) else v for k, v in item.items()}
    return data
