# SPDX-License-Identifier: GPL-2.0-only
"""What the report's page is made of: kernels as columns, and a mark for each test in them."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from harness.results.records import BootRecord, BuildRecord, BuildStatus, CellStatus, MatrixRecord
from harness.results.results import Boot, Outcome, RunResults, Standing, TestResult, read_results

_CONTROL = {code: 0x2400 + code for code in range(32) if chr(code) not in "\t\n"} | {0x7F: 0x2421}
_TURNING = dict.fromkeys((*range(0x202A, 0x202F), *range(0x2066, 0x206A)), 0xFFFD)


@dataclass(frozen=True, slots=True)
class Mark:
    """A test in a column.

    :param kind: names its style: ``ok``, ``stated``, ``either``, ``bad``, ``error``, ``skip`` or
        ``none``.
    :param symbol: says the same without colour.
    :param label: says it in words.
    :param link: the id of its evidence, ``None`` when there is none.
    :param flips: whether it does something else than at the position before.
    """

    kind: str
    symbol: str
    label: str
    link: str | None = None
    flips: bool = False


@dataclass(frozen=True, slots=True)
class Column:
    """A position under a profile.

    :param status: how far its kernel came.
    :param results: ``None`` when the tests did not run.
    :param directory: where its logs are.
    :param cached: whether its results came from the cache.
    """

    id: str
    position: int
    profile: str
    subject: str
    status: CellStatus
    message: str
    results: RunResults | None
    directory: Path
    cached: bool
    reproduce: str
    seconds: float
    build: BuildRecord
    boot: BootRecord

    @property
    def tests(self) -> dict[str, TestResult]:
        """The tests' results by id."""
        return {test.id: test for test in self.results.tests} if self.results is not None else {}

    @property
    def judge(self) -> str:
        """What its results were judged by."""
        return self.results.judge if self.results is not None else "desired"

    @property
    def run(self) -> str:
        """The command line that runs it, without what was for pytest."""
        return self.reproduce.partition(" -- ")[0]


def run_column(results: RunResults, directory: Path) -> Column:
    """Return the one column of a run."""
    position, kernel = results.series.position, results.kernel
    booted = next((boot for boot in results.boots if boot.outcome is Boot.OK), None)
    words = ["harness", "run", "--position", str(position), "--profile", results.kind]
    words += ["--expected"] if results.judge == "expected" else []
    return Column(
        id=f"p{position:02}",
        position=position,
        profile=results.profile,
        subject=results.series.subject,
        status=CellStatus.TESTED,
        message="",
        results=results,
        directory=directory,
        cached=False,
        reproduce=results.reproduce or shlex.join(words),
        seconds=results.seconds,
        build=BuildRecord(
            status=BuildStatus.OK,
            commit=kernel.commit,
            seconds=kernel.build_seconds,
            cached=kernel.cached,
            new_warnings=kernel.new_warnings,
        ),
        boot=BootRecord(status=booted.outcome, seconds=booted.seconds) if booted else BootRecord(),
    )


def matrix_columns(matrix: MatrixRecord, directory: Path) -> tuple[Column, ...]:
    """Return the columns of a matrix: profile by profile, positions in order.

    :param directory: where ``matrix.json`` is.
    :raises SpecError: when a cell's results are damaged.
    """
    columns = []
    for cell in matrix.positions:
        here = cell.directory_in(directory)
        found = here / "results.json"
        ran = cell.status in (CellStatus.TESTED, CellStatus.NOT_BOOTED) and found.exists()
        columns.append(
            Column(
                id=f"p{cell.position:02}-{cell.profile}",
                position=cell.position,
                profile=cell.profile,
                subject=cell.subject,
                status=cell.status,
                message=cell.message,
                results=read_results(found) if ran else None,
                directory=here,
                cached=cell.cached,
                reproduce=cell.reproduce,
                seconds=cell.seconds,
                build=cell.build,
                boot=cell.boot,
            )
        )
    return tuple(sorted(columns, key=lambda c: (matrix.profiles.index(c.profile), c.position)))


def mark_of(test: TestResult, judge: str) -> Mark:
    """Return a test's mark, without its link."""
    outcome = test.outcome
    standing = test.standing(judge)
    if standing is Standing.NO_VERDICT:
        return Mark("error", "?", "no verdict: trouble of the host or the machine")
    if test.finding:
        return Mark("stated", "\u2691", f"{outcome.value}: a finding, {test.weight}")
    if test.shows_bug:
        return Mark("stated", "\u2717", f"{outcome.value}: without {test.bug}, a known bug")
    if standing is Standing.BAD:
        if outcome is Outcome.PASSED:
            return Mark("bad", "\u2713!", "passes, which is not stated")
        return Mark("bad", "\u2717!", f"{outcome.value}, which it must not")
    if outcome is Outcome.SKIPPED:
        return Mark("skip", "\u2013", "does not apply here")
    if test.expected == "either" and judge == "expected":
        return Mark("either", "~", f"{outcome.value}; a race, both are stated")
    if outcome is Outcome.PASSED:
        return Mark("ok", "\u2713", "passes")
    return Mark("stated", "\u2717", f"{outcome.value}, as stated before its patch")


def detail_id(column: str, test: str | None) -> str:
    """Return the id of the evidence about a test in a column; ``None``: about the kernel."""
    return re.sub(r"[^A-Za-z0-9]+", "-", f"{column}-{test or 'cell'}").strip("-")


def visible(text: str) -> str:
    """Make control characters visible, and take from others the power to turn text around."""
    return text.translate(_CONTROL | _TURNING)
