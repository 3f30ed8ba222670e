# SPDX-License-Identifier: GPL-2.0-only
"""What commands leave for machines besides results of tests, as values: one type for each file.

``docs/results.md`` describes the files.  What belongs to a host is a path as it was there: a
directory may have been moved, or carried to another machine, since.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

from harness.results.complaint import Complaint
from harness.results.form import read_file, to_plain
from harness.results.results import Boot, Outcome

SCHEMA = 1
"""Version of each of the JSON forms; grows when a reader of the old form would go wrong."""

_T = TypeVar("_T")

# -- matrix.json -----------------------------------------------------------------------------


class CellStatus(StrEnum):
    """How far a cell came.

    ``ERROR`` is trouble of the host or the machine with the cell as a whole; single tests of a
    ``TESTED`` one may still have no verdict.
    """

    NOT_APPLIED = "does not apply"
    NOT_BUILT = "does not build"
    NOT_BOOTED = "does not boot"
    ERROR = "no verdict"
    TESTED = "tested"


class BuildStatus(StrEnum):
    """What became of a kernel's build; ``NONE``: it did not come to that."""

    OK = "ok"
    FAILED = "failed"
    NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildRecord:
    """A kernel's build; all but the status is ``None`` without a kernel.

    :param commit: what was built.
    :param seconds: what the build took when it was made.
    :param cached: whether it came from the cache this time.
    :param new_warnings: those that position 0 does not have; ``None`` when it is not known.
    """

    status: BuildStatus
    commit: str | None = None
    seconds: float | None = None
    cached: bool | None = None
    new_warnings: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BootRecord:
    """The first boot that worked, else the last that did not.

    :param status: ``None`` when no machine was asked for.
    """

    status: Boot | None = None
    seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CellRecord:
    """Tests on one kernel.

    :param subject: of the last patch applied.
    :param message: why it came no farther; empty when the tests ran.
    :param tests: what each test came to, by its id.
    :param seconds: what it took this time.
    :param cached: whether the results came from the cache.
    :param directory: where its results were.
    :param reproduce: the command line that runs it again.
    :param worker: which machine of a cluster ran it; ``None`` without one.
    """

    position: int
    profile: str
    subject: str
    status: CellStatus
    message: str
    build: BuildRecord
    boot: BootRecord
    tests: Mapping[str, Outcome]
    seconds: float
    cached: bool
    directory: str
    reproduce: str
    worker: str | None = None

    def directory_in(self, matrix: Path) -> Path:
        """Return where its results are, in the directory that the matrix is in now."""
        return matrix / Path(self.directory).name


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition:
    """A test that does something else from one position to the next that was tested.

    :param subject: of the patch that lies between; ``None`` when there are several.
    """

    test: str
    profile: str
    from_position: int = field(metadata={"key": "from"})
    to_position: int = field(metadata={"key": "to"})
    subject: str | None
    before: Outcome
    after: Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class MatrixRecord:
    """Every test at every position, as far as it was run.

    :param base: the commit before any patch.
    :param series: the series' name, ``None`` without one.
    :param profiles: in the order in which they are shown.
    :param positions: one for each position and profile.
    """

    base: str
    series: str | None
    profiles: tuple[str, ...]
    positions: tuple[CellRecord, ...]
    transitions: tuple[Transition, ...]
    unexpected: tuple[Complaint, ...]


# -- bisect.json -----------------------------------------------------------------------------


class Verdict(StrEnum):
    """What tests say about one kernel."""

    PASSES = "passes"
    FAILS = "fails"
    NONE = "no verdict"


@dataclass(frozen=True, slots=True, kw_only=True)
class PointRecord:
    """A kernel on the way of a bisection.

    :param position: ``None`` when commits are searched.
    :param commit: ``None`` when the position cannot be had.
    """

    position: int | None
    subject: str
    commit: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRecord(PointRecord):
    """A kernel that was asked.

    :param reason: of the verdict, one line; empty when the tests simply pass.
    :param message: of the test that decided, or of the kernel when none ran.
    :param console: that test's console slice, ``None`` without one.
    :param log: where to read on when no test ran, or ``None``.
    """

    verdict: Verdict
    reason: str
    message: str
    splats: tuple[str, ...]
    console: str | None
    log: str | None
    seconds: float
    cached: bool
    reproduce: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BisectRecord:
    """A bisection.

    :param first: the one candidate, ``None`` when there are several.
    :param before: the last kernel with the old verdict.
    :param after: the first with the new one.
    :param steps: in the order in which they were asked.
    """

    tests: tuple[str, ...]
    first: PointRecord | None
    candidates: tuple[PointRecord, ...]
    before: StepRecord
    after: StepRecord
    steps: tuple[StepRecord, ...]


# -- mutants.json ----------------------------------------------------------------------------


class Fate(StrEnum):
    """What became of a mutant.

    ``WRONG``: the mutant itself is no use, it does not apply or does not build.
    """

    KILLED = "killed"
    SURVIVED = "survived"
    AS_STATED = "as_stated"
    KILLED_AFTER_ALL = "killed_after_all"
    WRONG = "wrong"
    NO_VERDICT = "no_verdict"


@dataclass(frozen=True, slots=True, kw_only=True)
class MutantRecord:
    """A wrong patch.

    :param what: what is wrong, one line.
    :param breaks: the number of the patch whose work it undoes, or ``base``; the file of a
        generated one.
    :param killer: the test that noticed it, or ``boot``; ``None`` when none did.
    :param message: what the killer said, or why there is none.
    """

    name: str
    what: str
    breaks: str
    profile: str
    fate: Fate
    killer: str | None
    message: str
    log: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class MutantsRecord:
    """The mutants that were tried, as far as that went."""

    mutants: tuple[MutantRecord, ...]


# -- coverage.json ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class GapRecord:
    """Lines in a row of one function that no test reached.

    :param text: the code of the first of them.
    :param reason: why none can; empty when nobody has said so.
    """

    function: str
    first: int
    last: int
    text: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FileRecord:
    """One source file.

    :param lines: lines that hold code.
    :param reached: those that ran at least once.
    """

    file: str
    lines: int
    reached: int
    gaps: tuple[GapRecord, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CoverageRecord:
    """Which lines the tests reached.

    :param html: gcovr's page, where it was.
    """

    percent: float
    html: str
    files: tuple[FileRecord, ...]


# -- nightly.json ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class PartRecord:
    """One kernel with one series.

    :param directory: its name, below the nightly's.
    :param code: what it alone would exit with.
    :param planned: how many cells there are.
    :param tested: of those, how many were.
    :param passed: tests that passed.
    :param kernel: how many things speak against the kernel, or what was asked for.
    :param runner: how many are trouble of the host or the machine.
    :param lines: what the mail says of it.
    :param report: whether there is a report of it.
    """

    name: str
    directory: str
    code: int
    planned: int
    tested: int
    passed: int
    kernel: int
    runner: int
    lines: tuple[str, ...]
    report: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class NightlyRecord:
    """One night."""

    date: str
    seconds: float
    parts: tuple[PartRecord, ...]


# -- bench.json ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class FigureRecord:
    """What was measured, over its runs; without a value *error* says why.

    :param least: of the runs; it, the median and the most are ``None`` without a value.
    :param target: what the median is held to.
    :param met: whether it is.
    """

    least: float | None = field(metadata={"key": "min"})
    median: float | None
    most: float | None = field(metadata={"key": "max"})
    unit: str
    runs: int
    target: str | None = None
    met: bool | None = None
    error: str | None = None


# -- files -----------------------------------------------------------------------------------


def record_json(record: Any) -> dict[str, Any]:
    """Return the documented JSON form of one of these."""
    return {"schema": SCHEMA, **to_plain(record)}


def read_record(path: Path, kind: type[_T]) -> _T:
    """Read one of these from its file.

    :raises SpecError: when it is missing, of another schema, or not what the harness writes.
    """
    return read_file(path, kind, SCHEMA)


def says_schema(path: Path) -> bool:
    """Return whether a file says its schema; other programs leave some that have the same name.

    :raises SpecError: when it is missing, or no JSON at all.
    """
    return "schema" in read_file(path, dict[str, Any], None)


def read_figures(path: Path) -> dict[str, FigureRecord]:
    """Read ``bench.json``: figures by their names.

    :raises SpecError: when it is missing, or not what the benchmarks write.
    """
    return read_file(path, dict[str, FigureRecord], None)
