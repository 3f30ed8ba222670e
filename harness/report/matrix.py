# SPDX-License-Identifier: GPL-2.0-only
"""A matrix drawn: a line for each cell, tables at its end, and what is written of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.base.text import duration, first_line, plural
from harness.kernel.apply import AppliedSeries
from harness.report.problems import about, first_seen, where
from harness.results.complaint import Problem, problems_of
from harness.results.records import (
    BootRecord,
    BuildRecord,
    BuildStatus,
    CellRecord,
    CellStatus,
    MatrixRecord,
    Transition,
)
from harness.results.results import Boot, Outcome, TestResult
from harness.run.cell import CellResult, reproduce
from harness.search.matrix import (
    complaints,
    position_of,
    subjects_of,
    transitions,
)

HEADER = (
    "position  profile        build  warnings  boot    passed  as stated  unexpected  seconds"
    "  patch"
)


def cell_line(result: CellResult, subject: str) -> Text:
    """Return one line about a cell, below :data:`HEADER`."""
    build, boot = result.build, result.boot
    built = "-" if build is None else "cached" if build.cached else duration(build.seconds)
    new = build.new_warnings if build is not None else None
    warnings = "?" if new is None else str(len(new))
    booted = "-" if boot is None else boot.outcome.value
    if boot is not None and boot.outcome is Boot.OK:
        booted = duration(boot.seconds)
    passed = sum(t.outcome is Outcome.PASSED and not t.unexpected for t in result.tests)
    wrong = len(result.unexpected)
    stated = len(result.tests) - passed - wrong
    seconds = "cached" if result.cached else f"{result.seconds:.0f}"
    line = (
        f"{position_of(result):8}  {_profile(result):8}  {built:>10}  {warnings:>8}  {booted:<6}  "
        f"{passed:6}  {stated:9}  {wrong:10}  {seconds:>7}  {subject}"
    )
    if result.status is not CellStatus.TESTED:
        line += f"\n          {result.status.value}: {result.message}"
    return Text(line, style="bold red" if complaints(result) else "")


def print_tables(results: Sequence[CellResult], subjects: dict[int, str], console: Console) -> None:
    """Print the transitions, grouped by patch, and everything unexpected."""
    found = transitions(results, subjects)
    if found:
        console.print(_transition_table(found, subjects))
    _print_findings(results, console)
    wrong = [complaint for result in results for complaint in complaints(result)]
    problems = problems_of(wrong)
    if wrong:
        counts = f"{plural(len(wrong), 'result')}, {plural(len(problems), 'cause')}"
        console.print(Text.assemble(("unexpected", "bold red"), f": {counts}"))
    for problem in problems:
        for line in _problem_lines(problem, subjects):
            console.print(line, markup=False, soft_wrap=True)


def _print_findings(results: Sequence[CellResult], console: Console) -> None:
    """Print what tests found that ask for more than the series promises, once each."""
    found: dict[str, list[str]] = {}
    first: dict[str, TestResult] = {}
    for result in results:
        for test in result.results.findings if result.results is not None else ():
            place = f"{position_of(result)} {result.cell.target.kind}"
            found.setdefault(test.id, []).append(place)
            first.setdefault(test.id, test)
    if found:
        console.print("findings, beyond what the series promises", style="yellow")
    for name, places in found.items():
        test = first[name]
        for line in (
            f"  {name} ({test.weight}) at {', '.join(places)}",
            f"      {test.beyond}",
            f"      {first_line(test.message)}",
        ):
            console.print(line, markup=False, soft_wrap=True)


def _problem_lines(problem: Problem, subjects: Mapping[int, str]) -> Iterator[str]:
    item = problem.first
    yield f"  {where(problem)}: {about(problem)}: {item.outcome}, stated: {item.expected}"
    for label, value in (
        ("", first_seen(problem, subjects)),
        ("", first_line(item.message)),
        ("log: ", item.log),
        ("run: ", item.reproduce),
    ):
        if value:
            yield f"      {label}{value}"


def _transition_table(found: Sequence[Transition], subjects: dict[int, str]) -> Table:
    table = Table(title="transitions", title_justify="left", box=None, pad_edge=False)
    for name in ("test", "before", "after", "profiles"):
        table.add_column(name, overflow="fold")
    grouped: dict[tuple[int, int], dict[tuple[str, str, str], list[str]]] = {}
    for item in found:
        tests = grouped.setdefault((item.from_position, item.to_position), {})
        tests.setdefault((item.test, item.before, item.after), []).append(item.profile)
    for (start, end), tests in grouped.items():
        if end == start + 1:
            head = f"{start} -> {end}: {subjects.get(end, '')}"
        else:
            head = f"{start} -> {end}: one of patches {start + 1} to {end}"
        table.add_row(Text(head, style="bold"))
        for (test, before, after), profiles in tests.items():
            table.add_row(Text(f"  {test}"), before, after, ", ".join(profiles))
    return table


def summary(results: Sequence[CellResult], planned: int) -> str:
    """Say in one line how the matrix ended."""
    wrong = sum(bool(complaints(result)) for result in results)
    tests = sum(len(result.tests) for result in results)
    cached = sum(result.cached for result in results)
    left = planned - len(results)
    said = f"{len(results)} of {planned} cells, {tests} tests"
    said += f"; from the cache: {cached}" if cached else ""
    said += f"; with something unexpected: {wrong}" if wrong else "; nothing unexpected"
    return said + ("; stopped there (--keep-going does not)" if left else "")


# -- for machines ---------------------------------------------------------------------------


def record_of(
    applied: AppliedSeries, profiles: Sequence[str], results: Sequence[CellResult]
) -> MatrixRecord:
    """Return what is written of a matrix, finished or not."""
    subjects = subjects_of(applied)
    ordered = sorted(results, key=lambda r: (position_of(r), profiles.index(_profile(r))))
    return MatrixRecord(
        base=applied.source.base,
        series=applied.series.name if applied.series is not None else None,
        profiles=tuple(profiles),
        positions=tuple(_cell_record(result, subjects[position_of(result)]) for result in ordered),
        transitions=transitions(results, subjects),
        unexpected=tuple(item for result in ordered for item in complaints(result)),
    )


def _profile(result: CellResult) -> str:
    return result.cell.target.kind


def _cell_record(result: CellResult, subject: str) -> CellRecord:
    boot = BootRecord()
    if result.boot is not None:
        boot = BootRecord(status=result.boot.outcome, seconds=result.boot.seconds)
    return CellRecord(
        position=position_of(result),
        profile=_profile(result),
        subject=subject,
        status=result.status,
        message=result.message,
        build=_build_record(result),
        boot=boot,
        tests={test.id: test.outcome for test in result.tests},
        seconds=round(result.seconds, 1),
        cached=result.cached,
        directory=str(result.directory),
        reproduce=reproduce(result.cell),
        worker=result.worker or None,
    )


def _build_record(result: CellResult) -> BuildRecord:
    build = result.build
    if build is None:
        failed = result.status is CellStatus.NOT_BUILT
        return BuildRecord(status=BuildStatus.FAILED if failed else BuildStatus.NONE)
    return BuildRecord(
        status=BuildStatus.OK,
        commit=build.commit,
        seconds=round(build.seconds, 1),
        cached=build.cached,
        new_warnings=build.new_warnings,
    )
