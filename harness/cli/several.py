# SPDX-License-Identifier: GPL-2.0-only
"""The commands that try several kernels: which hands over to which, and which has which bug."""

from __future__ import annotations

import argparse
import dataclasses
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from rich.text import Text

from harness.base.errors import ExitCode, InputError
from harness.base.kernel_name import target_named
from harness.base.store import Store
from harness.base.terminal import Ui
from harness.cli.options import (
    MACHINE,
    OUTPUT,
    PLACE,
    Commands,
    add_settings,
    parallel_cells,
    pipeline_of,
    results_of,
    write_json,
)
from harness.report import bugs as report_bugs
from harness.report.compat import pair_line, print_table, to_markdown
from harness.report.page import write_report
from harness.results import bugs as bugs_file
from harness.results.bugs import BugsResults
from harness.results.compat import FILE, CompatResults, PairResult, read_stated
from harness.results.directory import free_name
from harness.results.form import write_file
from harness.results.pace import Pace
from harness.run.cell import Cell, CellResult
from harness.run.executor import run_cell
from harness.run.pipeline import Pipeline
from harness.search.bugs import bug_results, bugs_of, kernel_cell, series_bugs
from harness.search.compat import (
    Pair,
    directory_name,
    pair_cell,
    pair_name,
    pair_result,
    pairs_of,
)
from harness.search.matrix import run_cells

_Results = TypeVar("_Results", CompatResults, BugsResults)

_EXAMPLES = """\
examples:
  harness compat                            the pairs that the suite states something of
  harness compat --kernels 7.0.13:0 7.0.13:11 7.2.13 7.3.4
  harness compat --kernels 7.0.13:11 7.0.13:11+file-fields-swapped
  harness compat --from 7.2.13 --to ~/linux --json out.json
  harness compat --kernels 7.2.13 7.3.4 --markdown docs/compat.md

a kernel is NAME[:POSITION][+PATCH]...: a name of 'harness kernels' or a path as --kernel takes it,
a position of the suite's series, mutants or fixes of the suite on top
"""

_BUGS_EXAMPLES = """\
examples:
  harness bugs                              on the kernels that the suite states hand-overs of
  harness bugs --kernels 7.0.13:0 7.0.13:11 7.3.4
  harness bugs --kernels 7.0.13:11 7.0.13:11+finish-checks-reserved
  harness bugs --kernels ~/linux --profile debug --json out.json
  harness bugs --markdown docs/bugs.md

a kernel is NAME[:POSITION][+PATCH]..., as for 'harness compat'; a bug is a feature of the suite
that fixes one, and the tests about it have the marker fails_without
"""


def add_commands(commands: Commands) -> None:
    """Add ``compat`` and ``bugs``."""
    text = "which kernel hands over to which"
    compat = commands.add("compat", _compat, text, _EXAMPLES, MACHINE, PLACE, OUTPUT)
    add_settings(compat, "suite", "cc", "jobs", "profile")
    add_kernels(
        compat, "each hands over to each (default: those that the suite states something of)"
    )
    for word, what in (("from", "that hand over"), ("to", "that take over")):
        compat.add_argument(
            f"--{word}",
            dest=f"{word}_kernels",
            nargs="+",
            metavar="KERNEL",
            help=f"those {what} (default: all)",
        )
    compat.add_argument("--build", action="store_true", help="build the kernels, and no more")
    _add_common(compat, "pairs")
    text = "which kernel has which of the bugs that the suite knows"
    bugs = commands.add("bugs", _bugs, text, _BUGS_EXAMPLES, MACHINE, PLACE, OUTPUT)
    add_settings(bugs, "suite", "cc", "jobs", "profile")
    add_kernels(bugs, "kernels to try (default: those that the suite states hand-overs of)")
    _add_common(bugs, "kernels")


def add_kernels(parser: argparse.ArgumentParser, text: str) -> None:
    """Let *parser* take several kernels, each in one word."""
    parser.add_argument("--kernels", nargs="+", metavar="KERNEL", help=text)


def _add_common(parser: argparse.ArgumentParser, what: str) -> None:
    parser.add_argument("--markdown", metavar="FILE", type=Path, help="write the table there too")
    parser.add_argument("--parallel", metavar="N", type=int, help=f"{what} under way at once")
    parser.add_argument("--fresh", action="store_true", help="take no results from the cache")


def _compat(args: argparse.Namespace, ui: Ui) -> int:
    with ui.progress(Pace(Store()).seconds) as progress:
        pipeline = pipeline_of(args, progress)
        stated = read_stated(pipeline.suite.compat)
        kernels = args.kernels or list(stated)
        sources, targets = args.from_kernels or kernels, args.to_kernels or kernels
        if not sources or not targets:
            raise InputError("no kernel is named", hint="--kernels, or --from and --to, name some")
        pairs = pairs_of(sources, targets)
        like = pipeline.target
        cells = {pair_cell(pair, like, cmdline=args.cmdline or ""): pair for pair in pairs}
        if not args.build:
            _ = pipeline.accel  # or nothing can be run
        releases = {}
        for name in dict.fromkeys((*sources, *targets)):
            build = Pipeline(target_named(name, like), pipeline.store, progress).build()
            pipeline.image(build)
            releases[name] = build.release
            ui.line(Text(f"{name}: {build.release}"))
    if args.build:
        return int(ExitCode.PASSED)
    directory = results_of(args)
    found: dict[Pair, PairResult] = {}
    results = CompatResults(profile=like.profile, releases=releases, pairs=())
    for result in _run(list(cells), lambda cell: pair_name(cells[cell]), directory, args, ui):
        pair = cells[result.cell]
        found[pair] = pair_result(pair, result, stated)
        ui.line(pair_line(found[pair]))
        done = tuple(found[pair] for pair in pairs if pair in found)
        results = dataclasses.replace(results, pairs=done)
        write_file(directory / FILE, results.to_json())
    print_table(results, ui.out)
    return _finish(results, to_markdown, directory, args, ui)


def _bugs(args: argparse.Namespace, ui: Ui) -> int:
    with ui.progress(Pace(Store()).seconds) as progress:
        pipeline = pipeline_of(args, progress)
        like, suite = pipeline.target, pipeline.suite
        bugs, by_series = bugs_of(suite.features), series_bugs(suite.features)
        if not bugs:
            hint = "a feature with 'fixes' and 'fixed_in' in suite.yaml is one"
            raise InputError(f"the suite {suite.name} knows no bugs", hint=hint)
        names = args.kernels or [name for name in read_stated(suite.compat) if "+" not in name]
        if not names:
            raise InputError("no kernel is named", hint="--kernels names some")
        cells = {
            kernel_cell(name, like, by_series=by_series, cmdline=args.cmdline or ""): name
            for name in dict.fromkeys(names)
        }
        _ = pipeline.accel  # or nothing can be run
    directory = results_of(args)
    found: dict[str, CellResult] = {}
    results = bug_results(bugs, found, like.profile, by_series=by_series)
    for result in _run(list(cells), lambda cell: directory_name(cells[cell]), directory, args, ui):
        found[cells[result.cell]] = result
        done = {name: found[name] for name in cells.values() if name in found}
        results = bug_results(bugs, done, like.profile, by_series=by_series)
        ui.line(report_bugs.kernel_line(results, cells[result.cell]))
        write_file(directory / bugs_file.FILE, results.to_json())
    report_bugs.print_table(results, ui.out)
    return _finish(results, report_bugs.to_markdown, directory, args, ui)


def _run(
    cells: Sequence[Cell],
    name_of: Callable[[Cell], str],
    directory: Path,
    args: argparse.Namespace,
    ui: Ui,
) -> Iterator[CellResult]:
    """Run the cells, and yield what they come to as they end."""
    store = Store()
    names: dict[Cell, str] = {}
    for cell in cells:
        names[cell] = free_name(name_of(cell), names.values())
    with ui.progress(Pace(store).seconds, total=len(cells)) as progress:

        def run(cell: Cell) -> CellResult:
            with progress.lane(names[cell]) as say:
                place = directory / names[cell]
                # A store tells one cell's progress.
                own = Store(store.root)
                return run_cell(cell, store=own, directory=place, progress=say, fresh=args.fresh)

        for result in run_cells(cells, run, keep_going=True, parallel=parallel_cells(args)):
            progress.done()
            yield result


def _finish(
    results: _Results,
    markdown: Callable[[_Results, str], str],
    directory: Path,
    args: argparse.Namespace,
    ui: Ui,
) -> int:
    """Write the report and what else was asked for; return the exit code.

    :param markdown: makes the documentation's table, of the results and what was run.
    """
    ui.out.print(f"report: {write_report(directory, {})}", markup=False, soft_wrap=True)
    write_json(args, results.to_json())
    if args.markdown is not None:
        intro = f"{time.strftime('%Y-%m-%d')}, profile {results.profile}: {results.summary}."
        args.markdown.write_text(markdown(results, intro))
    return int(results.exit_code)
