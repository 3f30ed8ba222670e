# SPDX-License-Identifier: GPL-2.0-only
"""What results directories hold, read back: runs, matrices, nightlies and collections of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from harness.base.errors import SpecError
from harness.results.compat import FILE as COMPAT
from harness.results.compat import PairResult, read_compat
from harness.results.complaint import Complaint, complaints_of
from harness.results.records import BuildStatus, CellRecord, CellStatus, MatrixRecord, read_record
from harness.results.results import Boot, RunResults, TestResult, read_results


@dataclass(frozen=True, slots=True, kw_only=True)
class Kernel:
    """One kernel and what became of it.

    :param base: the commit before any patch.
    :param series: the series' name, ``None`` without one.
    :param subject: of the last patch applied.
    :param message: why it came no farther; empty when the tests ran.
    :param boot: what became of its first boot; ``None`` when it is not known, as for a run.
    :param results: ``None`` when the tests did not run.
    :param wrong: what nobody expected.
    """

    position: int
    profile: str
    base: str
    series: str | None
    subject: str
    status: CellStatus
    message: str
    build: BuildStatus
    boot: Boot | None
    directory: Path
    results: RunResults | None
    wrong: tuple[Complaint, ...]

    @property
    def findings(self) -> tuple[TestResult, ...]:
        """What its tests found beyond the promise of the series, the weightiest first."""
        return self.results.findings if self.results is not None else ()

    @property
    def tests(self) -> tuple[TestResult, ...]:
        """The tests' results, none when they did not run."""
        return self.results.tests if self.results is not None else ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """One results directory.

    :param name: its path below the directory that was asked for; empty for that itself.
    :param text: what the nightly said of it, ``None`` when it is none.
    :param pairs: what pairs of kernels came to.
    """

    name: str
    kernels: tuple[Kernel, ...]
    text: str | None = None
    pairs: tuple[PairResult, ...] = ()


def read_evidence(directory: Path) -> tuple[Evidence, ...]:
    """Read every results directory that *directory* is or holds, in the order of their names.

    :raises SpecError: when there is none, or a damaged one.
    """
    found = list(_search(directory, directory))
    if not found:
        raise SpecError(
            f"{directory} holds no results",
            hint="give a directory below results/, such as results/latest",
        )
    return tuple(found)


def _search(directory: Path, top: Path) -> Iterator[Evidence]:
    name = "" if directory == top else str(directory.relative_to(top))
    matrix, run, text = (directory / n for n in ("matrix.json", "results.json", "summary.txt"))
    if text.exists():
        yield Evidence(name=name, kernels=(), text=text.read_text(errors="replace"))
    if (directory / COMPAT).exists():
        # Its runs are not of one kernel each, and a refusal there is no failure.
        yield Evidence(name=name, kernels=(), pairs=read_compat(directory / COMPAT).pairs)
    elif matrix.exists():
        yield Evidence(name=name, kernels=_of_matrix(matrix))
    elif run.exists():
        yield Evidence(name=name, kernels=(_of_run(run),))
    elif directory.is_dir():
        for child in sorted(directory.iterdir()):
            if child.is_dir() and not child.is_symlink():
                yield from _search(child, top)


def _of_run(path: Path) -> Kernel:
    results = read_results(path)
    series = results.series
    return Kernel(
        position=series.position,
        profile=results.profile,
        base=results.kernel.base,
        series=series.name,
        subject=series.subject,
        status=CellStatus.TESTED,
        message="",
        build=BuildStatus.OK,
        boot=None,
        directory=path.parent,
        results=results,
        wrong=tuple(
            complaints_of(
                results,
                position=series.position,
                profile=results.profile,
                directory=path.parent,
            )
        ),
    )


def _of_matrix(path: Path) -> tuple[Kernel, ...]:
    matrix = read_record(path, MatrixRecord)
    return tuple(_of_cell(cell, matrix, path.parent) for cell in matrix.positions)


def _of_cell(cell: CellRecord, matrix: MatrixRecord, directory: Path) -> Kernel:
    here = cell.directory_in(directory)
    results = here / "results.json"
    place = (cell.position, cell.profile)
    return Kernel(
        position=cell.position,
        profile=cell.profile,
        base=matrix.base,
        series=matrix.series,
        subject=cell.subject,
        status=cell.status,
        message=cell.message,
        build=cell.build.status,
        boot=cell.boot.status,
        directory=here,
        results=read_results(results) if results.exists() else None,
        wrong=tuple(w for w in matrix.unexpected if (w.position, w.profile) == place),
    )
