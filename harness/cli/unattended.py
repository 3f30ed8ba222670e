# SPDX-License-Identifier: GPL-2.0-only
"""Commands for machines that nobody watches, and what they leave to read."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import time
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from harness.base.errors import ExitCode, InputError
from harness.base.positions import parse_positions
from harness.base.settings import SETTING, qemu_from_setting
from harness.base.spec import PROJECT_ROOT
from harness.base.store import Store
from harness.base.suite import find_suite, load_suite
from harness.base.terminal import Ui
from harness.cli.cluster import add_cluster_options, runner
from harness.cli.options import (
    MACHINE,
    OUTPUT,
    PLACE,
    PYTEST,
    TREE,
    Commands,
    add_cell_options,
    add_settings,
    pipeline_of,
    profiles_of,
    results_of,
    write_json,
)
from harness.report.kcidb import KINDS, ORIGIN, to_kcidb, validate
from harness.report.markdown import to_markdown
from harness.report.matrix import cell_line
from harness.report.matrix import record_of as matrix_record
from harness.report.nightly import record_of as nightly_record
from harness.report.nightly import summary as nightly_summary
from harness.report.page import write_report
from harness.report.plan import to_github, to_gitlab
from harness.report.sections import load_sections
from harness.results.evidence import read_evidence
from harness.results.form import write_file
from harness.results.history import History
from harness.results.pace import Pace
from harness.results.records import record_json
from harness.run.cell import CellResult
from harness.run.executor import run_cell
from harness.search.matrix import position_of, subjects_of
from harness.search.nightly import Part, nightly_code, only_one, read_nightly, run_nightly
from harness.search.plan import Job, Stage, make_jobs, make_pair_jobs

_PLAN_EXAMPLES = """\
examples:
  harness plan --format github --stage build   {"include": [...]}, for a matrix of jobs
  harness plan --format gitlab --accel kvm     a child pipeline
  harness plan --format github --positions 0..11 --profile debug --per-job 4 -- -k module
  harness plan --format github --kernels 7.0.13:0 7.2.13     harness compat, a job a pair
"""
_SUMMARY_EXAMPLES = """\
examples:
  harness summary results/latest            Markdown: what a CI service shows beside a job
  harness summary results >>"$GITHUB_STEP_SUMMARY"
"""
_KCIDB_EXAMPLES = """\
examples:
  harness kcidb results/latest              JSON, schema 5.3, for the KernelCI project's database
  harness kcidb results --origin mylab --tree mainline --output report.json
  harness kcidb results --url https://example.com/nightly/42

nothing is sent anywhere: what it writes is what kcidb-submit takes
"""
_NIGHTLY_EXAMPLES = """\
examples:
  harness nightly
  harness nightly --config ~/nightly.yaml --results /var/lib/harness/today

exit code: 0 all as it should be, 1 the kernel (or what was asked for), 3 trouble of the runner
"""
_HISTORY_EXAMPLES = """\
examples:
  harness history                           the newest runs
  harness history test module               what tests of that name came to
  harness history flaky                     different verdicts on the same inputs
  harness history bad                       what is bad now, and since when
  harness history figures boot_to_ssh       what a benchmark measured, run by run
  harness history --keep 500
"""


def add_commands(commands: Commands) -> None:
    """Add ``plan``, ``summary``, ``kcidb``, ``nightly`` and ``history``."""
    text = "cut a matrix into jobs for the runners of a CI service"
    plan = commands.add("plan", _plan, text, _PLAN_EXAMPLES, TREE, MACHINE, PYTEST)
    plan.add_argument("--format", choices=("github", "gitlab"), required=True)
    plan.add_argument(
        "--stage",
        choices=tuple(stage.value for stage in Stage),
        help="the jobs that build or that test, for github (default: test)",
    )
    add_cell_options(plan, "the suite's")
    plan.add_argument(
        "--per-job", metavar="N", default="1", help="positions that one job tests (default: 1)"
    )
    plan.add_argument(
        "--kernels", nargs="+", metavar="KERNEL", help="the pairs of these, see harness compat"
    )
    text = "say what results come to, as Markdown"
    summary = commands.add("summary", _summary, text, _SUMMARY_EXAMPLES)
    text = "turn results into a report for KCIDB; nothing is sent"
    kcidb = commands.add("kcidb", _kcidb, text, _KCIDB_EXAMPLES)
    for reader in (summary, kcidb):
        reader.add_argument(
            "directory",
            type=Path,
            nargs="?",
            default=Path("results/latest"),
            help="of a run, a matrix or a nightly, or one that holds such",
        )
    kcidb.add_argument("--origin", default=ORIGIN, help=f"who reports (default: {ORIGIN})")
    kcidb.add_argument("--tree", metavar="NAME", help="the tree's known name, such as mainline")
    kcidb.add_argument("--url", help="where the directory can be read on the web")
    kcidb.add_argument("--output", metavar="FILE", type=Path, help="(default: standard output)")
    kcidb.add_argument(
        "--dry-run", action="store_true", help="print the report and send nothing, as always"
    )
    text = "several kernels, series and profiles, unattended"
    nightly = commands.add("nightly", _nightly, text, _NIGHTLY_EXAMPLES, PLACE)
    nightly.add_argument(
        "--config",
        metavar="FILE",
        type=Path,
        default=PROJECT_ROOT / "scripts" / "nightly.yaml",
        help="what to run (default: scripts/nightly.yaml)",
    )
    add_settings(nightly, "qemu")
    nightly.add_argument("--parallel", metavar="N", type=int, help="cells under way at once")
    add_cluster_options(nightly)
    text = "what earlier runs came to"
    history = commands.add("history", _history, text, _HISTORY_EXAMPLES, OUTPUT)
    history.add_argument(
        "what", nargs="?", default="runs", choices=tuple(_HISTORY_COLUMNS), help="(default: runs)"
    )
    history.add_argument("name", nargs="?", help="of tests or figures, or a part of it")
    history.add_argument("--limit", metavar="N", type=int, default=20, help="lines (default: 20)")
    history.add_argument("--keep", metavar="N", type=int, help="drop all but the newest N runs")


def _plan(args: argparse.Namespace, ui: Ui) -> int:
    if args.stage is not None and args.format != "github":
        raise InputError("--stage goes with --format github", hint="gitlab's pipeline has both")
    jobs = _matrix_jobs(args, ui) if args.kernels is None else _pair_jobs(args)
    if args.format == "gitlab":
        sys.stdout.write(to_gitlab(jobs))
    else:
        sys.stdout.write(to_github(jobs, Stage(args.stage or "test")) + "\n")
    return int(ExitCode.PASSED)


def _given(args: argparse.Namespace) -> dict[str, str]:
    """Return the settings that were given, for the runners."""
    return {name: text for name in SETTING if (text := getattr(args, name, None)) is not None}


def _pair_jobs(args: argparse.Namespace) -> tuple[Job, ...]:
    """Return the jobs of ``harness compat``; the runners see whether the kernels are any."""
    settings = _given(args)
    odd = [f"--{name}" for name in ("kernel", "base", "series") if name in settings]
    odd += ["--positions"] if args.positions is not None else []
    if odd or args.pytest_args:
        words = " and ".join(odd) or "words for pytest"
        raise InputError(f"{words} and --kernels exclude each other", hint="NAME:POSITION has both")
    suite = load_suite(find_suite(settings.get("suite")))
    profiles = profiles_of(args, ["default"])
    for profile in profiles:
        suite.check_kind(profile)
    return make_pair_jobs(settings, list(dict.fromkeys(args.kernels)), profiles)


def _matrix_jobs(args: argparse.Namespace, ui: Ui) -> tuple[Job, ...]:
    if not args.per_job.isdecimal() or int(args.per_job) < 1:
        raise InputError(f"--per-job must be a whole number from 1 on, not {args.per_job!r}")
    settings = _given(args)
    args.qemu = None  # that of the runners need not be here
    with ui.progress() as progress:
        pipeline = pipeline_of(args, progress)
        profiles = profiles_of(args, pipeline.suite.matrix)
        for profile in profiles:
            pipeline.suite.check_kind(profile)
        if args.positions is None:
            # Only the tree can say which positions differ.
            last, usual = pipeline.applied.last, pipeline.applied.worth
        else:
            patches = pipeline.series.patches if pipeline.series is not None else ()
            last, usual = len(patches), None
    return make_jobs(
        settings,
        parse_positions(args.positions, last, usual),
        profiles,
        last=last,
        per_job=int(args.per_job),
        pytest_args=args.pytest_args,
    )


def _summary(args: argparse.Namespace, _ui: Ui) -> int:
    sys.stdout.write(to_markdown(read_evidence(args.directory)))
    return int(ExitCode.PASSED)


def _kcidb(args: argparse.Namespace, ui: Ui) -> int:
    report = to_kcidb(
        read_evidence(args.directory),
        directory=args.directory,
        origin=args.origin,
        tree=args.tree,
        url=args.url,
    )
    if not validate(report):
        ui.err.print("not validated: the Python package kcidb-io is missing", soft_wrap=True)
    text = json.dumps(report, indent=2) + "\n"
    if args.output is None:
        sys.stdout.write(text)
        return int(ExitCode.PASSED)
    try:
        args.output.write_text(text)
    except OSError as error:
        raise InputError(f"cannot write {args.output}: {error.strerror}") from error
    said = ", ".join(f"{len(report.get(kind, ()))} {kind}" for kind in KINDS)
    ui.out.print(f"{said}: {args.output}", soft_wrap=True)
    return int(ExitCode.PASSED)


def _nightly(args: argparse.Namespace, ui: Ui) -> int:
    spec = read_nightly(args.config)
    spec = dataclasses.replace(spec, qemu=qemu_from_setting(args.qemu) or spec.qemu)
    sections = load_sections(spec.suite)
    started = time.monotonic()

    def on_cell(part: Part, result: CellResult) -> None:
        assert part.applied is not None  # noqa: S101 - it has a cell
        subject = subjects_of(part.applied)[position_of(result)]
        ui.line(Text(f"{part.name}: ") + cell_line(result, subject))
        found = matrix_record(part.applied, part.kinds, part.results)
        write_file(part.directory / "matrix.json", record_json(found))
        write_report(part.directory, sections)

    store = Store()
    with (
        only_one(store),
        runner(args, spec.suite.root, run_cell) as where,
        ui.progress(Pace(store).seconds) as progress,
    ):
        directory = results_of(args)
        parts = run_nightly(
            spec,
            store,
            directory,
            progress,
            parallel=where.parallel,
            on_cell=on_cell,
            lane=progress.lane,
            run=where.run,
        )
    seconds, date = time.monotonic() - started, time.strftime("%Y-%m-%d")
    text = nightly_summary(parts, seconds=seconds, directory=directory, date=date)
    (directory / "summary.txt").write_text(text)
    found = nightly_record(parts, seconds=seconds, date=date)
    write_file(directory / "nightly.json", record_json(found))
    write_report(directory, sections)
    ui.out.print(f"\n{text}", markup=False, soft_wrap=True, end="")
    return int(nightly_code(parts))


def _history(args: argparse.Namespace, ui: Ui) -> int:
    with History() as history:
        if args.keep is not None:
            if args.keep < 0:
                raise InputError(f"--keep {args.keep}: there are no such runs", hint="such as 500")
            ui.out.print(f"dropped {history.prune(args.keep)} runs, kept {args.keep} at most")
        if args.what == "flaky":
            found = [
                dataclasses.asdict(item) | {"rate": round(item.rate, 3)} for item in history.flaky()
            ]
        elif args.what == "bad":
            found = [dataclasses.asdict(item) for item in history.bad_since()]
        elif args.what == "figures":
            found = [
                dataclasses.asdict(item) for item in history.figures(args.limit, args.name or "")
            ]
        elif args.what == "test":
            if not args.name:
                raise InputError("no test is named", hint="harness history test module")
            found = [dataclasses.asdict(item) for item in history.trend(args.name, args.limit)]
        else:
            found = [dataclasses.asdict(item) for item in history.runs(args.limit)]
        ui.out.print(_history_table(found, args.what) if found else "nothing is recorded")
    write_json(args, {"file": str(history.path), args.what: found})
    return int(ExitCode.PASSED)


_HISTORY_COLUMNS = {
    "runs": ("at", "release", "profile", "accel", "tests", "bad", "seconds", "directory"),
    "test": ("at", "release", "profile", "outcome", "bad", "seconds", "test"),
    "flaky": ("test", "release", "profile", "runs", "bad", "rate"),
    "bad": ("at", "commit", "release", "profile", "position", "runs", "good", "test"),
    "figures": ("at", "release", "accel", "name", "minimum", "median", "maximum", "unit"),
}


def _history_table(found: list[dict[str, Any]], what: str) -> Table:
    table = Table(box=None, pad_edge=False)
    columns = _HISTORY_COLUMNS[what]
    for name in columns:
        head = {"at": "since" if what == "bad" else "when"}.get(name, name)
        table.add_column(head, overflow="fold")
    for row in found:
        table.add_row(*(Text(_history_word(name, row[name])) for name in columns))
    return table


def _history_word(name: str, value: object) -> str:
    if value is None:
        return "never" if name == "good" else "-"
    if name in ("at", "good") and isinstance(value, float | int):
        return time.strftime("%Y-%m-%d %H:%M", time.localtime(value))
    if name == "commit":
        return str(value)[:12]
    if name == "rate" and isinstance(value, float):
        return f"{value:.0%}"
    return f"{value:.1f}" if isinstance(value, float) else str(value)
