# SPDX-License-Identifier: GPL-2.0-only
"""Commands that look for what makes a test fail: a change, or the operations of a race."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

from harness.base.errors import ExitCode, InfrastructureError, InputError
from harness.base.settings import SETTING
from harness.base.spec import Target
from harness.base.store import Store
from harness.base.terminal import Ui
from harness.cli.cluster import add_cluster_options, cluster_of, runner
from harness.cli.options import (
    MACHINE,
    OUTPUT,
    PLACE,
    PROFILE,
    TREE,
    Commands,
    add_settings,
    pipeline_of,
    results_of,
    write_json,
)
from harness.report.bisect import print_bisection, step_line
from harness.report.bisect import record_of as bisect_record
from harness.report.page import write_report
from harness.report.sections import load_sections
from harness.results.form import write_file
from harness.results.pace import Pace
from harness.results.records import CellStatus, Verdict, record_json
from harness.results.schedule import Schedule, read_schedule, smallest
from harness.run.cell import Cell, CellResult, find_test
from harness.run.executor import RunCell, run_cell
from harness.run.judgement import BAD_ON, Judgement, cell_for, run_tries
from harness.run.pipeline import Pipeline
from harness.search.bisect import (
    Point,
    Step,
    bisect,
    commit_points,
    position_points,
)

_BISECT_EXAMPLES = """\
examples:
  harness bisect --test 'test_module.py::test_idle_module_can_be_unloaded[0]'
  harness bisect --test test_quiesce_is_gone --good 11 --bad 3
  harness bisect --test test_quiesce_is_gone --kernel ~/linux --range v7.0..HEAD
  harness bisect --test test_first_use_of_flbs_on_all_cpus --tries 5 --profile debug
"""
_VERDICT_EXAMPLES = """\
examples:
  harness verdict --kernel ~/linux --test 'test_module.py::test_idle_module_can_be_unloaded[0]'
  git bisect run harness verdict --kernel . --test test_quiesce_is_gone --results /tmp/verdicts

exit codes: 0 the test passes, 1 it fails (with --fixed the other way round), 125 no verdict
(skip), 128 bad input, 129 trouble of the host
"""


_MINIMIZE_EXAMPLES = """\
examples:
  harness minimize failed.json --test test_everything_at_once
  harness minimize failed.json --test test_everything_at_once --profile debug --tries 3

exit code: 0 minimal.json has what is left, 1 the whole schedule does not fail either
"""


def add_commands(commands: Commands) -> None:
    """Add ``bisect``, ``verdict`` and ``minimize``."""
    asked = argparse.ArgumentParser(add_help=False)
    asked.add_argument(
        "--test",
        dest="tests",
        action="append",
        required=True,
        metavar="ID",
        help="test_x.py::test_y[0] or test_y, repeatable: one that fails is enough",
    )
    asked.add_argument(
        "--bad-on",
        action="append",
        choices=BAD_ON,
        default=[],
        help="no build, or no boot, is a failure instead of no verdict",
    )
    asked.add_argument(
        "--tries", metavar="K", help="ask up to K times; one failure is enough (default: 1)"
    )
    parents = (asked, PROFILE, TREE, MACHINE, PLACE)
    text = "which patch or commit changes a test"
    bisect = commands.add("bisect", _bisect, text, _BISECT_EXAMPLES, *parents, OUTPUT)
    bisect.add_argument("--good", metavar="N", help="a position where the test passes")
    bisect.add_argument("--bad", metavar="M", help="a position where it fails")
    bisect.add_argument("--range", metavar="A..B", help="commits of --kernel, not a series")
    add_cluster_options(bisect)
    text = "what git bisect run asks for"
    verdict = commands.add("verdict", _verdict, text, _VERDICT_EXAMPLES, *parents)
    verdict.add_argument(
        "--fixed",
        action="store_true",
        help="look for what made the test pass: failing is good, that is old",
    )
    text = "the fewest actors and operations of a race that still fail"
    minimize = commands.add("minimize", _minimize, text, _MINIMIZE_EXAMPLES, *parents)
    minimize.add_argument("file", metavar="SCHEDULE", type=Path, help="what a run left of it")
    add_settings(minimize, "position")


def _minimize(args: argparse.Namespace, ui: Ui) -> int:
    schedule = read_schedule(args.file)
    with ui.progress() as progress:
        pipeline = pipeline_of(args, progress)
        tests = [find_test(text, pipeline.suite) for text in args.tests]
        _ = pipeline.accel, pipeline.profile
        target = dataclasses.replace(pipeline.target, position=pipeline.position().number)
    directory = results_of(args)
    count = 0

    def fails(candidate: Schedule) -> bool:
        nonlocal count
        count += 1
        path = directory / f"{count:03}.json"
        path.write_text(candidate.to_json())
        words = (f"{SETTING['schedule'].plugin_option}={path}",)
        found = _judge(args, ui, target, tests, directory, f"{count:03}", words)
        actors, operations = len(candidate.actors), len(candidate.pieces)
        said = f"{count:3} {actors:2} actors {operations:3} operations: {found.verdict.value}"
        ui.out.print(f"{said} {found.reason}".rstrip(), markup=False, soft_wrap=True)
        if count == 1 and found.verdict is Verdict.NONE:
            found.result.tested()  # which says why it did not run
            raise InfrastructureError(found.reason, log=found.result.log)
        return found.verdict is Verdict.FAILS

    if not fails(schedule):
        ui.out.print("the whole schedule does not fail: --tries asks more than once")
        return int(ExitCode.TESTS_FAILED)
    least = smallest(schedule, fails)
    (directory / "minimal.json").write_text(least.to_json())
    ui.out.print(least.described(), markup=False, soft_wrap=True)
    ui.out.print(f"schedule: {directory / 'minimal.json'}", markup=False, soft_wrap=True)
    return int(ExitCode.PASSED)


def _bisect(args: argparse.Namespace, ui: Ui) -> int:
    good, bad = _position(args.good, "good"), _position(args.bad, "bad")
    with ui.progress() as progress:
        pipeline = pipeline_of(args, progress)
        tests = [find_test(text, pipeline.suite) for text in args.tests]
        _ = pipeline.profile
        if cluster_of(args) is None:
            _ = pipeline.accel
        sections = load_sections(pipeline.suite)
        points = _points(args, pipeline)
    directory = results_of(args)

    def on_step(step: Step) -> None:
        ui.out.print(step_line(step), markup=False, soft_wrap=True)

    with runner(args, pipeline.suite.root, run_cell) as where:
        found = bisect(
            points,
            tests,
            lambda point: _judge(
                args, ui, point.target, tests, directory, point.name, run_where=where.run
            ),
            good=good,
            bad=bad,
            on_step=on_step,
        )
    print_bisection(found, ui.out)
    result = record_json(bisect_record(found))
    write_file(directory / "bisect.json", result)
    report = write_report(directory, sections)
    ui.out.print(f"log: {directory / 'bisect.json'}\nreport: {report}", soft_wrap=True)
    write_json(args, result)
    return int(ExitCode.PASSED if len(found.first) == 1 else ExitCode.TESTS_FAILED)


def _verdict(args: argparse.Namespace, ui: Ui) -> int:
    if args.kernel is not None and args.series is None:
        args.series = "none"
    with ui.progress() as progress:
        pipeline = pipeline_of(args, progress)
        tests = [find_test(text, pipeline.suite) for text in args.tests]
        target = dataclasses.replace(
            pipeline.target, position=pipeline.position().number if args.series != "none" else 0
        )
    directory = results_of(args)
    found = _judge(args, ui, target, tests, directory, pipeline.source.base[:12])
    if found.result.status is CellStatus.ERROR:
        raise InfrastructureError(found.reason, log=found.result.log)
    said = f"{found.verdict.value}: {found.reason}" if found.reason else found.verdict.value
    ui.out.print(said, markup=False, soft_wrap=True)
    code = VERDICT_CODES[found.verdict]
    return 1 - code if args.fixed and code < 2 else code


def _judge(
    args: argparse.Namespace,
    ui: Ui,
    target: Target,
    tests: list[str],
    directory: Path,
    name: str,
    pytest_args: tuple[str, ...] = (),
    run_where: RunCell = run_cell,
) -> Judgement:
    tries = args.tries or "1"
    if not tries.isdecimal() or int(tries) < 1:
        raise InputError(f"--tries must be a whole number from 1 on, not {tries!r}")

    def run(cell: Cell, number: int) -> CellResult:
        pace = Pace(Store()).seconds
        with ui.progress(pace) as progress, progress.lane(name) as say:
            return run_where(
                cell,
                store=Store(),
                directory=directory / f"{name.replace(' ', '-')}-try-{number}",
                progress=say,
                # The same answer twice says nothing about a flaky test.
                fresh=int(tries) > 1 or bool(pytest_args),
            )

    cell = cell_for(target, tests, args.cmdline or "")
    cell = dataclasses.replace(cell, pytest_args=pytest_args)
    return run_tries(cell, tests, tries=int(tries), bad_on=args.bad_on, run=run)


def _points(args: argparse.Namespace, pipeline: Pipeline) -> tuple[Point, ...]:
    if args.range is None:
        return position_points(pipeline.applied, pipeline.target)
    tree = pipeline.target.kernel.path
    if tree is None or args.series is not None or args.base is not None:
        raise InputError("--range goes with --kernel, and without --series and --base")
    if args.good is not None or args.bad is not None:
        raise InputError("the ends of --range are its ends: leave --good and --bad out")
    return commit_points(tree, args.range, pipeline.target)


def _position(text: str | None, name: str) -> int | None:
    if text is not None and not text.isdecimal():
        raise InputError(f"--{name} {text!r} is no position", hint="such as --good 0 --bad 11")
    return int(text) if text is not None else None


VERDICT_CODES = {Verdict.PASSES: 0, Verdict.FAILS: 1, Verdict.NONE: 125}
"""What ``git bisect run`` wants to hear."""
