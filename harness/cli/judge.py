# SPDX-License-Identifier: GPL-2.0-only
"""Commands that run the tests and judge: one kernel, every position, wrong patches, lines."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

from rich.text import Text

from harness.base import command
from harness.base.errors import ExitCode, HarnessError
from harness.base.positions import parse_positions
from harness.base.progress import Progress
from harness.base.settings import SETTING
from harness.base.store import Store
from harness.base.suite import Suite, find_suite, load_suite
from harness.base.terminal import Ui
from harness.cli.cluster import add_cluster_options, cluster_of, runner
from harness.cli.mutants import add_mutants
from harness.cli.options import (
    MACHINE,
    OUTPUT,
    PLACE,
    PYTEST,
    TARGET,
    TREE,
    Commands,
    add_cell_options,
    add_settings,
    pipeline_of,
    profiles_of,
    results_of,
    write_json,
)
from harness.kernel.worktree import work_tree
from harness.report.coverage import print_coverage
from harness.report.coverage import record_of as coverage_record
from harness.report.matrix import HEADER, cell_line, print_tables, summary
from harness.report.matrix import record_of as matrix_record
from harness.report.page import write_report
from harness.report.sections import load_sections
from harness.report.text import print_results, series_lines
from harness.results.form import write_file
from harness.results.history import History
from harness.results.pace import Pace
from harness.results.records import record_json
from harness.results.results import RunResults, read_results
from harness.run.cell import (
    Cell,
    CellResult,
    inputs_of,
    pytest_argv,
    pytest_environment,
    reproduce,
)
from harness.run.executor import check_ended, run_cell
from harness.run.provenance import describe_series
from harness.search.coverage import (
    counted,
    coverage_of,
    merge,
    percent,
    read_coverage,
    read_reasons,
)
from harness.search.matrix import exit_code as matrix_exit_code
from harness.search.matrix import (
    kinds_of,
    make_cells,
    position_of,
    run_cells,
    subjects_of,
)

_RUN_EXAMPLES = """\
examples:
  harness run
  harness run --position 9 --profile debug
  harness run -- -k module -x               everything behind -- goes to pytest
  harness run --position 3 --expected       does each test do what it states for position 3?
  harness run --seed 17 --races 60 -- -k race     races of other seeds, a minute for each test
  harness run --json out.json
"""
_RACES = ("seed", "races", "schedule")
_MATRIX_EXAMPLES = """\
examples:
  harness matrix                            every position, the suite's profiles
  harness matrix --positions 0,5,9..11 --profile default --keep-going
  harness matrix --json out.json -- -k module
"""
_COVERAGE_EXAMPLES = """\
examples:
  harness coverage                          gcov over all guest tests, with an HTML report
  harness coverage --min 95 -- -k "not module"
"""
_REPORT_EXAMPLES = """\
examples:
  harness report                            of the newest results
  harness report results/20261124-104716
"""


def add_commands(commands: Commands) -> None:
    """Add ``run``, ``matrix``, ``coverage``, ``mutants`` and ``report``."""
    text = "the main job: build, boot, test, report"
    run = commands.add(
        "run", _run, text, _RUN_EXAMPLES, TREE, TARGET, MACHINE, PLACE, OUTPUT, PYTEST
    )
    add_settings(run, "judge", "strict", "to", *_RACES)
    parents = (TREE, MACHINE, PLACE, OUTPUT)
    text = "every test at every position, judged as stated"
    matrix = commands.add("matrix", _matrix, text, _MATRIX_EXAMPLES, *parents, PYTEST)
    add_cell_options(matrix, "the suite's")
    add_settings(matrix, "strict")
    add_cluster_options(matrix)
    matrix.add_argument(
        "--keep-going", action="store_true", help="do not stop at something unexpected"
    )
    matrix.add_argument(
        "--parallel",
        metavar="N",
        type=int,
        help="cells under way at once (default: half the CPUs, two at least)",
    )
    matrix.add_argument("--fresh", action="store_true", help="take no results from the cache")
    text = "which lines the tests reach"
    coverage = commands.add("coverage", _coverage, text, _COVERAGE_EXAMPLES, *parents, PYTEST)
    add_settings(coverage, "position", "strict")
    coverage.add_argument(
        "--min", type=float, default=90.0, metavar="PERCENT", help="fail below (default: 90)"
    )
    add_mutants(commands)
    text = "make the HTML report of a results directory again"
    report = commands.add("report", _report, text, _REPORT_EXAMPLES)
    report.add_argument("directory", type=Path, nargs="?", default=Path("results/latest"))
    add_settings(report, "suite")


def _run(args: argparse.Namespace, ui: Ui) -> int:
    directory = results_of(args)
    with ui.progress(Pace(Store()).seconds) as progress:
        pipeline = pipeline_of(args, progress)
        pipeline.check_machine()
        sections = load_sections(pipeline.suite)
        pipeline.image(pipeline.build())
    judge = args.judge or ("desired" if pipeline.is_suites else "expected")
    if judge != args.judge and not pipeline.is_suites:
        ui.out.print("it is not the suite's series: judged by what is stated for this tree")
    cell = Cell(
        target=pipeline.target,
        pytest_args=(*_race_options(args), *args.pytest_args),
        judge=judge,
        strict=args.strict == "yes",
        cmdline=args.cmdline or "",
        to=args.to or "",
    )
    status = command.run_attached(pytest_argv(cell, directory), env=pytest_environment())
    check_ended(status, directory)
    path = directory / "results.json"
    if not path.exists():
        return status
    results = read_results(path)
    target = dataclasses.replace(pipeline.target, position=results.series.position)
    again = reproduce(dataclasses.replace(cell, target=target))
    results = dataclasses.replace(results, reproduce=again)
    results.write(path)
    _remember(ui, results, directory, cell.suite)
    print_results(results, ui.out, sections, directory=write_report(directory, sections))
    write_json(args, results.to_json())
    return status


def _race_options(args: argparse.Namespace) -> list[str]:
    """Return what tells pytest which races it is to run, where that is not the usual."""
    found = ((SETTING[name], getattr(args, name)) for name in _RACES)
    return [f"{one.plugin_option}={text}" for one, text in found if text not in (None, one.default)]


def _matrix(args: argparse.Namespace, ui: Ui) -> int:
    with ui.progress() as progress:
        pipeline = pipeline_of(args, progress)
        profiles = profiles_of(args, pipeline.suite.matrix)
        for profile in profiles:
            pipeline.suite.check_kind(profile)
        applied = pipeline.applied
        if cluster_of(args) is None:
            _ = pipeline.accel  # or nothing can be run
        sections = load_sections(pipeline.suite)
        said = series_lines(describe_series(pipeline))
    for line in said:
        ui.out.print(line, markup=False, soft_wrap=True)
    subjects = subjects_of(applied)
    cells = make_cells(
        pipeline.target,
        parse_positions(args.positions, applied.last, applied.worth),
        profiles,
        pytest_args=tuple(args.pytest_args),
        cmdline=args.cmdline or "",
        strict=args.strict == "yes",
    )
    directory = results_of(args)

    results: list[CellResult] = []
    ui.out.print(HEADER)
    with (
        runner(args, pipeline.suite.root, run_cell) as where,
        ui.progress(Pace(pipeline.store).seconds, total=len(cells)) as progress,
    ):

        def run(cell: Cell) -> CellResult:
            with progress.lane(cell.name) as say:
                return where.run(
                    cell,
                    store=Store(pipeline.store.root),
                    directory=directory / cell.name,
                    progress=say,
                    fresh=args.fresh,
                )

        ended = run_cells(cells, run, keep_going=args.keep_going, parallel=where.parallel)
        for result in ended:
            results.append(result)
            progress.done()
            if result.results is not None and not result.cached:
                _remember(ui, result.results, result.directory, pipeline.suite)
            ui.line(cell_line(result, subjects[position_of(result)]))
            found = record_json(matrix_record(applied, kinds_of(cells), results))
            write_file(directory / "matrix.json", found)
    print_tables(results, subjects, ui.out)
    report = write_report(directory, sections)
    ui.out.print(f"{summary(results, len(cells))}\nreport: {report}", soft_wrap=True)
    write_json(args, found)
    return int(matrix_exit_code(results))


def _remember(ui: Ui, results: RunResults, directory: Path, suite: Suite) -> None:
    """Add a run to the history; what is wrong with that is no part of the run's verdict."""
    try:
        with History() as history:
            history.add_run(results, directory=directory, inputs=inputs_of(results, suite))
    except HarnessError as error:
        ui.error(error)


def _coverage(args: argparse.Namespace, ui: Ui) -> int:
    args.profile = "coverage"
    directory = results_of(args)
    with ui.progress(Pace(Store()).seconds) as progress:
        pipeline = pipeline_of(args, progress)
        wanted = coverage_of(pipeline.suite)
        sections = load_sections(pipeline.suite)
        reasons = read_reasons(wanted.reasons)
        at = pipeline.position()
        cell = Cell(
            target=dataclasses.replace(pipeline.target, position=at.number),
            pytest_args=tuple(args.pytest_args),
            cmdline=args.cmdline or "",
            strict=args.strict == "yes",
        )
        result = run_cell(cell, store=pipeline.store, directory=directory, progress=progress)
        results = result.tested()
        progress(Progress("adding the counters up"))
        with work_tree(pipeline.source, at.commit, pipeline.store, profile=args.profile) as tree:
            counters = counted(directory, results.builds[str(at.number)])
            merged = merge(counters, tree, directory, wanted.files, cc=pipeline.toolchain.cc)
            files = read_coverage(merged, tree, reasons)
    print_coverage(files, ui.out)
    html = directory / "coverage" / "index.html"
    found = record_json(coverage_record(files, html))
    write_file(directory / "coverage.json", found)
    report = write_report(directory, sections)
    ui.out.print(f"lines: {html}\nreport: {report}", markup=False, soft_wrap=True)
    write_json(args, found)
    for test in result.unexpected:
        ui.out.print(Text(f"{test.outcome.value}: {test.id}", style="bold red"), soft_wrap=True)
    if percent(files) < args.min:
        ui.out.print(Text(f"less than {args.min:g} percent", style="bold red"))
    if percent(files) < args.min or any(test.is_bad(cell.judge) for test in results.tests):
        return int(ExitCode.TESTS_FAILED)
    # What is left has no verdict.
    return int(ExitCode.INFRASTRUCTURE if result.unexpected else ExitCode.PASSED)


def _report(args: argparse.Namespace, ui: Ui) -> int:
    sections = load_sections(load_suite(find_suite(args.suite)))
    report = write_report(args.directory.resolve(), sections)
    ui.out.print(f"report: {report}", markup=False, soft_wrap=True)
    return int(ExitCode.PASSED)
