# SPDX-License-Identifier: GPL-2.0-only
"""Every test at every position: where behaviour changes, and what nobody expected.

Cells are run side by side; :mod:`harness.report.matrix` draws what they came to.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from pathlib import Path

from harness.base.errors import ExitCode
from harness.base.spec import Target
from harness.kernel.apply import AppliedSeries
from harness.results.complaint import Complaint, complaints_about
from harness.results.expectation import Expected
from harness.results.records import CellStatus, Transition
from harness.results.results import Boot, Outcome
from harness.run.cell import Cell, CellResult, reproduce
from harness.run.parallel import Workers


def make_cells(
    target: Target,
    positions: Sequence[int],
    profiles: Sequence[str],
    *,
    pytest_args: tuple[str, ...] = (),
    cmdline: str = "",
    strict: bool = False,
) -> tuple[Cell, ...]:
    """Return the cells of a matrix in the order in which they are run: profile by profile.

    :param profiles: by name, with an architecture (``default@aarch64``) if it is not the target's;
        on a host of that architecture the two are one, and run once.
    """
    cells = (
        Cell(
            target=dataclasses.replace(target.of_kind(profile), position=position),
            pytest_args=pytest_args,
            cmdline=cmdline,
            strict=strict,
        )
        for profile in profiles
        for position in positions
    )
    return tuple(dict.fromkeys(cells))


def kinds_of(cells: Iterable[Cell]) -> tuple[str, ...]:
    """Return the profiles of cells, with their architectures, in the order of the cells."""
    return tuple(dict.fromkeys(cell.target.kind for cell in cells))


def run_cells(
    cells: Iterable[Cell],
    run: Callable[[Cell], CellResult],
    *,
    keep_going: bool,
    parallel: int = 1,
    deadline: float | None = None,
) -> Iterator[CellResult]:
    """Run cells, up to the first with something unexpected unless *keep_going*.

    Results come as they are there.  Builds wait for each other, tests do not, so that the next
    kernel is built while the last one is tested.

    :param parallel: how many cells are under way at once.
    :param deadline: on the clock of :func:`time.monotonic`; no cell is begun after it.
    """
    left = list(cells)[::-1]
    running: dict[Future[CellResult], None] = {}
    with Workers(parallel) as pool:
        try:
            while left or running:
                if deadline is not None and time.monotonic() >= deadline:
                    left.clear()
                while left and len(running) < parallel:
                    running[pool.submit(run, left.pop())] = None
                done = wait(running, return_when=FIRST_COMPLETED).done
                for future in [future for future in running if future in done]:
                    del running[future]
                    result = future.result()
                    yield result
                    if complaints(result) and not keep_going:
                        left.clear()
        except BaseException as error:
            pool.end(error)
            raise


# -- what is made of it --------------------------------------------------------------------


def position_of(result: CellResult) -> int:
    """Return the number of a cell's position."""
    position = result.cell.target.position
    assert position is not None  # noqa: S101 - make_cells() has set it
    return position


def complaints(result: CellResult) -> tuple[Complaint, ...]:
    """Return everything in a cell that nobody expected."""
    found = []

    def add(expected: str, outcome: str, message: str, *, verdict: bool, log: Path | None) -> None:
        found.append(
            Complaint(
                position=position_of(result),
                profile=result.cell.target.kind,
                test=None,
                expected=expected,
                outcome=outcome,
                message=message,
                verdict=verdict,
                log=log,
                reproduce=reproduce(result.cell),
            )
        )

    if result.status is not CellStatus.TESTED:
        crashed = result.boot is not None and result.boot.outcome is Boot.CRASHED
        sure = result.status in (CellStatus.NOT_APPLIED, CellStatus.NOT_BUILT) or crashed
        add("tested", result.status.value, result.message, verdict=sure, log=result.log)
    new = result.build.new_warnings if result.build is not None else None
    if new:
        add("no new warnings", f"{len(new)} new", "; ".join(new), verdict=True, log=None)
    if result.status is CellStatus.NOT_BOOTED:
        # Every test says so once more.
        return tuple(found)
    about_tests = complaints_about(
        result.tests,
        result.cell.judge,
        position=position_of(result),
        profile=result.cell.target.kind,
        directory=result.directory,
    )
    for item in about_tests:
        only = dataclasses.replace(result.cell, tests=(str(item.test),), pytest_args=())
        found.append(dataclasses.replace(item, reproduce=reproduce(only)))
    return tuple(found)


def exit_code(results: Iterable[CellResult]) -> ExitCode:
    """Return what the matrix exits with; a verdict weighs more than trouble of the host."""
    found = [complaint for result in results for complaint in complaints(result)]
    if any(complaint.verdict for complaint in found):
        return ExitCode.TESTS_FAILED
    return ExitCode.INFRASTRUCTURE if found else ExitCode.PASSED


def transitions(results: Iterable[CellResult], subjects: dict[int, str]) -> tuple[Transition, ...]:
    """Return where tests change what they do, by patch, then test.

    Without a verdict a position says nothing.  Nor does it when a race, stated to fail only
    sometimes, did not show.

    :param subjects: position -> subject of its patch.
    """
    found = []
    last: dict[tuple[str, str], tuple[int, Outcome]] = {}
    for result in sorted(results, key=position_of):
        profile, position = result.cell.target.kind, position_of(result)
        for test in result.tests:
            lucky = test.expected == Expected.EITHER and test.outcome is Outcome.PASSED
            if test.outcome is Outcome.ERROR or lucky:
                continue
            before = last.get((profile, test.id))
            last[profile, test.id] = (position, test.outcome)
            if before is not None and before[1] != test.outcome:
                found.append(
                    Transition(
                        test=test.id,
                        profile=profile,
                        from_position=before[0],
                        to_position=position,
                        subject=subjects.get(position) if before[0] == position - 1 else None,
                        before=before[1],
                        after=test.outcome,
                    )
                )
    return tuple(sorted(found, key=lambda t: (t.to_position, t.from_position, t.test, t.profile)))


def subjects_of(applied: AppliedSeries) -> dict[int, str]:
    """Return the subject of each position's patch, also of those that do not apply."""
    found = {position.number: position.subject for position in applied.positions}
    if applied.series is not None:
        found |= {patch.number: patch.subject for patch in applied.series.patches}
    return found
