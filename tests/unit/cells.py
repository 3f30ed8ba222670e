# SPDX-License-Identifier: GPL-2.0-only
"""Cells as if they had been run, for what is made of them."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from runs import run_of

from harness.base.settings import target_from_settings
from harness.results.expectation import Expected
from harness.results.records import CellStatus
from harness.results.results import Boot, BootResult, Outcome, RunResults, TestResult
from harness.run.cell import Cell, CellBuild, CellResult

TARGET = target_from_settings(lambda _name: None)
TEST = "test_module.py::test_x"


def results_of(tests: tuple[TestResult, ...], *, profile: str = "default") -> RunResults:
    """Return a run of *tests* of which nothing else is asked."""
    return run_of(*tests, profile=profile)


def outcome_of(name: str, text: str, message: str = "why") -> TestResult:
    """Read ``passed``, ``failed!`` (unexpected), ``failed?`` (both are stated)."""
    return TestResult(
        id=name,
        outcome=Outcome(text.rstrip("!?")),
        seconds=1.0,
        message="" if "passed" in text else message,
        splats=("BUG: x",) if "crashed" in text else (),
        console="console/x.log",
        expected=Expected.EITHER if "?" in text else Expected.PASSED,
        unexpected="!" in text,
    )


def cell_at(position: int, profile: str = "default") -> Cell:
    """Return the cell of a matrix."""
    return Cell(target=dataclasses.replace(TARGET, position=position, profile=profile))


def result_of(
    cell: Cell,
    *tests: TestResult,
    status: CellStatus = CellStatus.TESTED,
    message: str = "this is why",
    log: Path | None = None,
    boot: Boot | None = Boot.OK,
    warnings: tuple[str, ...] | None = (),
    cached: bool = False,
    directory: Path = Path("/results/p"),
) -> CellResult:
    """Return what became of a cell: 20 s of building, a boot of 2.5 s, 30 s in all.

    :param message: why it came no farther; it counts only when it did not.
    :param boot: what became of the boot, ``None`` when no machine was asked for.
    :param warnings: new ones of the build.
    """
    ran = status in (CellStatus.TESTED, CellStatus.NOT_BOOTED)
    build = CellBuild(commit="c1", release="7.0", seconds=20.0, cached=False, new_warnings=warnings)
    booted = BootResult(
        release="7.0", outcome=boot or Boot.OK, seconds=2.5, message="panic", machine="machines/001"
    )
    profile = cell.target.profile
    return CellResult(
        cell=cell,
        status=status,
        message="" if status is CellStatus.TESTED else message,
        log=log,
        build=build if ran else None,
        boot=booted if ran and boot is not None else None,
        results=results_of(tests, profile=profile) if ran else None,
        directory=directory,
        seconds=30.0,
        cached=cached,
    )


def result(
    *tests: tuple[str, str], status: CellStatus = CellStatus.TESTED, cached: bool = False
) -> CellResult:
    """Return what became of the cell that a bisection asks about :data:`TEST`."""
    tested = status is CellStatus.TESTED
    return result_of(
        dataclasses.replace(cell_at(3), tests=(TEST,), judge="desired"),
        *(outcome_of(name, outcome, "this is why\nat length") for name, outcome in tests),
        status=status,
        log=None if tested else Path("/results/build.log"),
        cached=cached,
        directory=Path("/results"),
    )
