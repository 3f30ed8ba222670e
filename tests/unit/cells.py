# SPDX-License-Identifier: GPL-2.0-only
"""Cells as if they had been run, for what is made of them."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from harness.base.settings import target_from_settings
from harness.results.results import Outcome, RunResults, TestResult
from harness.run.cell import Cell, CellResult, CellStatus

TARGET = target_from_settings(lambda _name: None)
TEST = "test_module.py::test_x"


def results_of(tests: tuple[TestResult, ...], *, profile: str = "default") -> RunResults:
    """Return a run of *tests* of which nothing else is asked."""
    return RunResults(
        kernel={},
        series={},
        profile=profile,
        accel="tcg",
        machine={},
        tests=tests,
        seconds=1.0,
    )


def result(
    *tests: tuple[str, str], status: CellStatus = CellStatus.TESTED, cached: bool = False
) -> CellResult:
    results = results_of(
        tuple(
            TestResult(
                id=name,
                outcome=Outcome(outcome),
                seconds=1.0,
                message="" if outcome == "passed" else "this is why\nat length",
                splats=("BUG: x",) if outcome == "crashed" else (),
                console="console/x.log",
            )
            for name, outcome in tests
        )
    )
    tested = status is CellStatus.TESTED
    return CellResult(
        cell=Cell(target=dataclasses.replace(TARGET, position=3), tests=(TEST,), judge="desired"),
        status=status,
        message="" if tested else "this is why",
        log=None if tested else Path("/results/build.log"),
        build=None,
        boot=None,
        results=results if tested else None,
        directory=Path("/results"),
        seconds=4.0,
        cached=cached,
    )
