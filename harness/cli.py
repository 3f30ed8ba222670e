# SPDX-License-Identifier: GPL-2.0-only
"""The command line.  The only place that prints errors and decides exit codes."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import functools
import json
import logging
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from rich.table import Table
from rich.text import Text

from harness import command
from harness.arch import architecture
from harness.bench import boot_gauge, build_gauge, clone_gauges, verdict_gauges
from harness.bisect import (
    BAD_ON,
    Judgement,
    Point,
    Step,
    Verdict,
    bisect,
    cell_for,
    commit_points,
    find_test,
    position_points,
    print_bisection,
    run_tries,
    step_line,
)
from harness.bisect import to_json as bisect_json
from harness.cell import (
    Cell,
    CellResult,
    CellStatus,
    inputs_of,
    pytest_argv,
    pytest_environment,
    run_cell,
)
from harness.coverage import counted, merge, percent, print_coverage, read_coverage, read_reasons
from harness.coverage import to_json as coverage_json
from harness.errors import (
    BuildError,
    ExitCode,
    HarnessError,
    InfrastructureError,
    InputError,
    KconfigError,
    SeriesError,
)
from harness.evidence import read_evidence
from harness.figures import MEANINGS, figure_table, ratios, write_tables
from harness.figures import to_json as figures_json
from harness.gauge import Gauge, choose, take
from harness.history import History
from harness.host import check_host
from harness.html import write_report
from harness.kcidb import KINDS, ORIGIN, to_kcidb, validate
from harness.machine import choose_accel, qemu_version
from harness.markdown import to_markdown
from harness.matrix import (
    HEADER,
    cell_line,
    complaints,
    make_cells,
    parse_positions,
    position_of,
    print_tables,
    run_cells,
    subjects_of,
    summary,
)
from harness.matrix import exit_code as matrix_exit_code
from harness.matrix import to_json as matrix_json
from harness.mutants import Trial, print_trials, read_mutants, trial_line, try_mutant
from harness.mutants import exit_code as mutants_exit_code
from harness.mutants import to_json as mutants_json
from harness.mutants import to_markdown as mutants_markdown
from harness.nightly import nightly_code, only_one, read_nightly, run_nightly
from harness.nightly import summary as nightly_summary
from harness.nightly import to_json as nightly_json
from harness.pace import Pace
from harness.pipeline import Pipeline, target_from_settings
from harness.plan import Stage, make_jobs, to_github, to_gitlab
from harness.report import RunResults, print_results, read_results
from harness.review import (
    TRACKING,
    Status,
    checks_of,
    place_patch,
    place_series,
    read_tracking,
    tracked,
    worst,
)
from harness.rivals import PROFILE as VIRTME
from harness.rivals import virtme_gauges, vmtest_gauge
from harness.series import read_headings
from harness.soak import soak_gauges
from harness.source import check_out
from harness.spec import MUTANTS_DIR, PROJECT_ROOT, Target, load_profile
from harness.store import Entry, Store, to_prune
from harness.terminal import Ui
from harness.timing import boot_stages, stage_table, update_stages
from harness.vm import VirtualMachine

log = logging.getLogger(__name__)

MATRIX_PROFILES = ("default", "debug")
REVIEW_PROFILES = ("default",)
"""Profiles of a matrix, and of a review, when none is named."""

EXAMPLES = {
    "": """\
examples:
  harness run                               the shipped series on its kernel, all guest tests
  harness run --position 0                  the same tests before the first patch
  harness matrix                            every position: does each test do what it states?
  harness run --kernel ~/linux --base v7.0 --series v4.mbx
  harness boot --position 10 --profile debug
  harness config --explain KASAN
""",
    "doctor": """\
examples:
  harness doctor
  harness doctor --accel kvm                exit code 3 unless a guest really runs under KVM
""",
    "fetch": """\
examples:
  harness fetch                             the pinned source package, imported into git
  harness fetch --kernel ~/linux --base v7.0
""",
    "config": """\
examples:
  harness config                            configure, and prove that every option survived
  harness config --profile debug --explain KASAN_VMALLOC
""",
    "build": """\
examples:
  harness build                             the last position, profile 'default'
  harness build --position 5 --profile debug
  harness build --positions 0..11           all of them, past those that do not build
""",
    "plan": """\
examples:
  harness plan --format github --stage build   {"include": [...]}, for a matrix of jobs
  harness plan --format gitlab --accel kvm     a child pipeline
  harness plan --format github --positions 0..11 --profile debug --per-job 4 -- -k module
""",
    "summary": """\
examples:
  harness summary results/latest            Markdown: what a CI service shows beside a job
  harness summary results >>"$GITHUB_STEP_SUMMARY"
""",
    "kcidb": """\
examples:
  harness kcidb results/latest              JSON, schema 5.3, for the KernelCI project's database
  harness kcidb results --origin mylab --tree mainline --output report.json
  harness kcidb results --url https://example.com/nightly/42

nothing is sent anywhere: what it writes is what kcidb-submit takes
""",
    "boot": """\
examples:
  harness boot                              a shell in the guest; Ctrl-] ends it
  harness boot --position 0 --gdb           says how to attach gdb
  harness boot --timing                     where the time of a boot and a live update goes
""",
    "run": """\
examples:
  harness run
  harness run --position 9 --profile debug
  harness run -- -k memfd -x                everything behind -- goes to pytest
  harness run --position 3 --expected       does each test do what it states for position 3?
  harness run --json out.json
""",
    "matrix": """\
examples:
  harness matrix                            every position, profiles default and debug
  harness matrix --positions 0,5,9..11 --profile default --keep-going
  harness matrix --json out.json -- -k module
""",
    "bisect": """\
examples:
  harness bisect --test 'test_module.py::test_idle_module_can_be_unloaded[0]'
  harness bisect --test test_quiesce_is_gone --good 11 --bad 3
  harness bisect --test test_quiesce_is_gone --kernel ~/linux --range v7.0..HEAD
  harness bisect --test test_race --tries 5 --profile debug
""",
    "coverage": """\
examples:
  harness coverage                          gcov over all guest tests, with an HTML report
  harness coverage --min 95 -- -k "not memfd"
""",
    "mutants": """\
examples:
  harness mutants                           all of tests/mutants/
  harness mutants flbs-forgotten token-reused
  harness mutants --table docs/mutants.md   and write the table of the documentation
""",
    "verdict": """\
examples:
  harness verdict --kernel ~/linux --test 'test_module.py::test_idle_module_can_be_unloaded[0]'
  git bisect run harness verdict --kernel . --test test_quiesce_is_gone --results /tmp/verdicts

exit codes: 0 the test passes, 1 it fails (with --fixed the other way round), 125 no verdict
(skip), 128 bad input, 129 trouble of the host
""",
    "check-patch": """\
examples:
  harness check-patch 0005-liveupdate-Defer.patch
  harness check-patch --series v4.mbx -- -k module <mail
  git config b4.review-perpatch-check-cmd 'harness check-patch'

prints a JSON array of results (tool, status, summary, url, details) as b4 review reads it
""",
    "check-series": """\
examples:
  harness check-series v4.mbx
  harness check-series --positions 0..3 --profile debug --series v4.mbx
  git config b4.review-series-check-cmd 'harness check-series'

prints a JSON array of results (tool, status, summary, url, details) as b4 review reads it
""",
    "report": """\
examples:
  harness report                            of the newest results
  harness report results/20261124-104716
""",
    "nightly": """\
examples:
  harness nightly
  harness nightly --config ~/nightly.yaml --results /var/lib/harness/today

exit code: 0 all as it should be, 1 the kernel (or what was asked for), 3 trouble of the runner
""",
    "history": """\
examples:
  harness history                           the newest runs
  harness history test memfd                what tests of that name came to
  harness history flaky                     different verdicts on the same inputs
  harness history bad                       what is bad now, and since when
  harness history figures boot_to_ssh       what a benchmark measured, run by run
  harness history --keep 500
""",
    "bench": """\
examples:
  harness bench                             everything; takes some 20 minutes
  harness bench clone_to_ssh boot_to_ssh    only these, in turns
  harness bench quick --runs 30 --json figures.json
  harness bench soak                        what is left behind by many clones and live updates
  harness bench --table docs/performance.md

names: of figures, of ratios, or quick, slow, soak
""",
    "cache": """\
examples:
  harness cache list
  harness cache prune --unused-days 14
  harness cache prune --max-gib 10          what was not used for longest goes first
""",
    "clean": """\
examples:
  harness clean                             drop builds, images and probes
  harness clean --all                       also sources, object trees and the compiler cache
""",
}


def run_command(argv: list[str]) -> int:
    """Parse *argv*, run the command, print its error if there is one; return the exit code."""
    if "verdict" in argv[:1]:
        return _for_git_bisect(argv)
    return _run_command(argv)


def _for_git_bisect(argv: list[str]) -> int:
    """Run ``verdict``: everything else than a verdict makes ``git bisect run`` stop."""
    verdicts = VERDICT_CODES.values()
    try:
        code = _run_command(argv)
    except SystemExit as error:
        # argparse has said what is wrong, with the code of a bad kernel.
        code = error.code if isinstance(error.code, int) else int(ExitCode.BAD_INPUT)
        return code and _GIT_ABORTS
    except Exception:  # noqa: BLE001 - git would take our own bugs for the kernel's
        traceback.print_exc()
        return _GIT_ABORTS + 1
    if code in verdicts or code >= _GIT_ABORTS:
        return code
    return _GIT_ABORTS if code == ExitCode.BAD_INPUT else _GIT_ABORTS + 1


def _run_command(argv: list[str]) -> int:
    words, further = argv, None
    if argv and argv[0].startswith("check-") and "--" in argv:
        # argparse would give the first of pytest's arguments to FILE.
        words, further = argv[: argv.index("--")], argv[argv.index("--") + 1 :]
    args = _parser().parse_args(words)
    if further is not None:
        args.pytest_args = further
    ui = Ui(verbose=args.verbose)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        if getattr(args, "no_templates", False):
            # Cells run in processes of their own, and whether they clone changes no result.
            os.environ["HARNESS_TEMPLATES"] = "no"
        return int(args.run(args, ui))
    except HarnessError as error:
        if args.debug:
            traceback.print_exc()
        ui.error(error)
        return int(error.exit_code)
    except KeyboardInterrupt:
        ui.err.print("interrupted", style="bold")
        return int(ExitCode.INTERRUPTED)
    except BrokenPipeError:
        sys.stdout = None
        return int(ExitCode.INTERRUPTED)


def _interrupt(_signal: int, _frame: object) -> NoReturn:
    raise KeyboardInterrupt


# -- the parser ----------------------------------------------------------------------------


def _parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("-v", "--verbose", action="count", default=0, help="say more (twice: all)")
    common.add_argument("--debug", action="store_true", help="show a traceback with an error")
    tree = argparse.ArgumentParser(add_help=False)
    group = tree.add_argument_group("what is tested")
    group.add_argument(
        "--kernel",
        metavar="PATH",
        help="git tree, tarball or source package (default: the pinned package)",
    )
    group.add_argument("--base", metavar="REV", help="revision of a git tree (default: HEAD)")
    group.add_argument(
        "--series",
        metavar="WHERE",
        help="mbox, maildir, directory or A..B; 'none' for no patches (default: the shipped one)",
    )
    group.add_argument("-j", "--jobs", metavar="N", help="parallel compilers (default: all CPUs)")
    target = argparse.ArgumentParser(add_help=False)
    group = target.add_argument_group("where")
    group.add_argument("--position", metavar="N", help="patches applied, 0 = none (default: all)")
    group.add_argument(
        "--extra", metavar="FILES", help="patches on top of the position, colon-separated"
    )
    group.add_argument("--profile", metavar="NAME", help="kernel profile (default: default)")
    output = argparse.ArgumentParser(add_help=False)
    output.add_argument("--json", metavar="FILE", type=Path, help="write the result for machines")
    place = argparse.ArgumentParser(add_help=False)
    place.add_argument("--results", metavar="DIR", type=Path, help="where the report goes")
    vm = argparse.ArgumentParser(add_help=False)
    vm.add_argument("--accel", choices=("auto", "kvm", "tcg"), help="accelerator (default: auto)")
    vm.add_argument("--cmdline", metavar="WORDS", help="further kernel parameters")
    vm.add_argument(
        "--no-templates", action="store_true", help="boot every machine, clone none (slower)"
    )

    parser = argparse.ArgumentParser(
        prog="harness",
        description="Prove a kernel patch series in QEMU, patch by patch.",
        epilog=EXAMPLES[""],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)

    def add(
        name: str,
        run: Callable[[argparse.Namespace, Ui], int],
        text: str,
        *parents: argparse.ArgumentParser,
    ) -> argparse.ArgumentParser:
        made = commands.add_parser(
            name,
            help=text,
            description=text,
            epilog=EXAMPLES[name],
            parents=[common, *parents],
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        made.set_defaults(run=run)
        return made

    doctor = add(
        "doctor", _doctor, "say what this host lacks, and the command that installs it", output
    )
    doctor.add_argument(
        "--accel", choices=("auto", "kvm", "tcg"), default="auto", help="insist on an accelerator"
    )
    add("fetch", _fetch, "get the kernel source and apply the series", tree, target, output)
    config = add(
        "config", _config, "configure the kernel and prove the options", tree, target, output
    )
    config.add_argument("--explain", metavar="SYMBOL", help="why a symbol has its value")
    build = add(
        "build", _build, "build the kernel, the test module and the image", tree, target, output
    )
    build.add_argument(
        "--positions", metavar="LIST", help="several, such as 0..11: build all that can be built"
    )
    boot = add("boot", _boot, "boot the kernel and open a shell in the guest", tree, target, vm)
    boot.add_argument("--gdb", action="store_true", help="offer a gdb stub")
    boot.add_argument(
        "--timing", action="store_true", help="say where the time goes, and open no shell"
    )
    run = add(
        "run", _run, "the main job: build, boot, test, report", tree, target, vm, place, output
    )
    run.add_argument(
        "--expected",
        dest="judge",
        action="store_const",
        const="expected",
        help="judge by what the tests state for the position, not by what the series is to bring",
    )
    run.add_argument("pytest_args", nargs="*", metavar="-- PYTEST-ARGS", help="passed to pytest")
    matrix = add(
        "matrix", _matrix, "every test at every position, judged as stated", tree, vm, place, output
    )
    _add_cell_options(matrix, MATRIX_PROFILES)
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
    matrix.add_argument("pytest_args", nargs="*", metavar="-- PYTEST-ARGS", help="passed to pytest")
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
    asked.add_argument("--profile", metavar="NAME", help="kernel profile (default: default)")
    bisect = add(
        "bisect", _bisect, "which patch or commit changes a test", asked, tree, vm, place, output
    )
    bisect.add_argument("--good", metavar="N", help="a position where the test passes")
    bisect.add_argument("--bad", metavar="M", help="a position where it fails")
    bisect.add_argument("--range", metavar="A..B", help="commits of --kernel, not a series")
    verdict = add("verdict", _verdict, "what git bisect run asks for", asked, tree, vm, place)
    verdict.add_argument(
        "--fixed",
        action="store_true",
        help="look for what made the test pass: failing is good, that is old",
    )
    coverage = add("coverage", _coverage, "which lines the tests reach", tree, vm, place, output)
    coverage.add_argument("--position", metavar="N", help="patches applied (default: all)")
    coverage.add_argument(
        "--min", type=float, default=90.0, metavar="PERCENT", help="fail below (default: 90)"
    )
    coverage.add_argument(
        "pytest_args", nargs="*", metavar="-- PYTEST-ARGS", help="passed to pytest"
    )
    mutants = add(
        "mutants", _mutants, "would the tests notice a wrong patch?", tree, vm, place, output
    )
    mutants.add_argument("names", nargs="*", metavar="NAME", help="mutants (default: all)")
    mutants.add_argument(
        "--profile", dest="only_profile", metavar="NAME", help="only those of a profile"
    )
    mutants.add_argument("--table", metavar="FILE", type=Path, help="write the table as Markdown")
    mutants.add_argument("--fresh", action="store_true", help="use no cached results")
    patch = add("check-patch", _check_patch, "check one patch, for b4", tree, vm, place)
    patch.add_argument("--profile", metavar="NAME", help="kernel profile (default: default)")
    series = add("check-series", _check_series, "check a series, for b4", tree, vm, place)
    _add_cell_options(series, REVIEW_PROFILES)
    for check in (patch, series):
        check.add_argument(
            "mail", nargs="?", default="-", metavar="FILE", help="default: standard input"
        )
        check.set_defaults(pytest_args=())
        check.usage = f"{check.prog} [OPTION ...] [FILE] [-- PYTEST-ARGS ...]"
    report = add("report", _report, "make the HTML report of a results directory again")
    report.add_argument("directory", type=Path, nargs="?", default=Path("results/latest"))
    plan = add("plan", _plan, "cut a matrix into jobs for the runners of a CI service", tree)
    plan.add_argument("--format", choices=("github", "gitlab"), required=True)
    plan.add_argument(
        "--stage",
        choices=tuple(stage.value for stage in Stage),
        help="the jobs that build or that test, for github (default: test)",
    )
    _add_cell_options(plan, MATRIX_PROFILES)
    plan.add_argument("--accel", choices=("auto", "kvm", "tcg"), help="accelerator of the jobs")
    plan.add_argument(
        "--per-job", metavar="N", default="1", help="positions that one job tests (default: 1)"
    )
    plan.add_argument("pytest_args", nargs="*", metavar="-- PYTEST-ARGS", help="passed to pytest")
    job_summary = add("summary", _summary, "say what results come to, as Markdown")
    kcidb = add("kcidb", _kcidb, "turn results into a report for KCIDB; nothing is sent")
    for reader in (job_summary, kcidb):
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
    nightly = add("nightly", _nightly, "several kernels, series and profiles, unattended", place)
    nightly.add_argument(
        "--config",
        metavar="FILE",
        type=Path,
        default=PROJECT_ROOT / "scripts" / "nightly.yaml",
        help="what to run (default: scripts/nightly.yaml)",
    )
    nightly.add_argument("--parallel", metavar="N", type=int, help="cells under way at once")
    history = add("history", _history, "what earlier runs came to", output)
    history.add_argument(
        "what", nargs="?", default="runs", choices=tuple(_HISTORY_COLUMNS), help="(default: runs)"
    )
    history.add_argument("name", nargs="?", help="of tests or figures, or a part of it")
    history.add_argument("--limit", metavar="N", type=int, default=20, help="lines (default: 20)")
    history.add_argument("--keep", metavar="N", type=int, help="drop all but the newest N runs")
    bench = add("bench", _bench, "what boots, clones, updates and builds cost", tree, vm, output)
    bench.add_argument("names", metavar="NAME", nargs="*", help="figures (default: all)")
    bench.add_argument("--profile", metavar="NAME", help="kernel profile (default: default)")
    bench.add_argument(
        "--runs", metavar="N", type=int, default=10, help="of what is quick (default: 10)"
    )
    bench.add_argument(
        "--table", metavar="FILE", type=Path, help="put the tables into a Markdown file"
    )
    cache = add("cache", _cache, "what the cache holds, and making room in it", output)
    cache.add_argument("what", choices=("list", "prune"))
    cache.add_argument(
        "--unused-days", metavar="N", type=float, help="drop what was not used for so long"
    )
    cache.add_argument(
        "--max-gib", metavar="N", type=float, help="drop what was not used for longest, down to N"
    )
    clean = add("clean", _clean, "drop what is cached", output)
    clean.add_argument("--all", action="store_true", help="sources and object trees as well")
    return parser


def _add_cell_options(parser: argparse.ArgumentParser, profiles: Sequence[str]) -> None:
    """Let *parser* choose cells: positions, and profiles that are *profiles* without a word."""
    parser.add_argument("--positions", metavar="LIST", help="such as 0..11 or 0,5 (default: all)")
    parser.add_argument(
        "--profile",
        dest="profiles",
        action="append",
        metavar="NAME",
        help=f"kernel profile, repeatable (default: {' and '.join(profiles)})",
    )


def _pipeline(args: argparse.Namespace, progress: Callable[[str], None]) -> Pipeline:
    settings = vars(args)
    target = target_from_settings(lambda name: settings.get(name))
    return Pipeline(target, Store(), progress)


def _write_json(args: argparse.Namespace, value: Any) -> None:
    if args.json is not None:
        try:
            args.json.parent.mkdir(parents=True, exist_ok=True)
            args.json.write_text(json.dumps(value, indent=2) + "\n")
        except OSError as error:
            raise InputError(f"cannot write {args.json}: {error.strerror}") from error


# -- the commands --------------------------------------------------------------------------


def _doctor(args: argparse.Namespace, ui: Ui) -> int:
    report = check_host(Store(), architecture())
    table = Table(box=None, pad_edge=False, show_header=False)
    for item in report.items:
        table.add_row(
            Text("ok" if item.ok else "MISSING", style="green" if item.ok else "bold red"),
            Text(item.name),
            Text(item.detail, overflow="fold"),
        )
    ui.out.print(table)
    if report.install is not None:
        ui.out.print(f"install what is missing:\n  {report.install}", markup=False, soft_wrap=True)
    _write_json(args, report.to_json())
    choose_accel(args.accel, architecture(), Store())
    return int(ExitCode.PASSED if report.ok else ExitCode.INFRASTRUCTURE)


def _fetch(args: argparse.Namespace, ui: Ui) -> int:
    with ui.progress() as progress:
        pipeline = _pipeline(args, progress)
        applied = pipeline.applied
        applied.position(None)
    source = applied.source
    ui.out.print(f"Linux {source.version}: {source.label}", markup=False, soft_wrap=True)
    for position in applied.positions:
        line = f"{position.number:3}  {position.commit[:12]}  {position.subject}"
        ui.out.print(line, markup=False, soft_wrap=True)
    _write_json(
        args,
        {
            "version": source.version,
            "label": source.label,
            "base": source.base,
            "repo": str(source.repo),
            "series": pipeline.describe_series(),
        },
    )
    return int(ExitCode.PASSED)


def _config(args: argparse.Namespace, ui: Ui) -> int:
    with ui.progress() as progress:
        pipeline = _pipeline(args, progress)
        config = pipeline.configure()
        text = pipeline.explain(args.explain) if args.explain else None
    if text is not None:
        ui.out.print(text, markup=False, soft_wrap=True)
    else:
        ui.out.print(f"{config.path}: all {len(config.requests)} requested symbols survived")
    _write_json(
        args,
        {
            "profile": pipeline.profile.name,
            "config": str(config.path),
            "requests": [
                {"symbol": r.symbol, "value": r.value, "file": str(r.file), "line": r.line}
                for r in config.requests
            ],
            "explanation": text,
        },
    )
    return int(ExitCode.PASSED)


def _build(args: argparse.Namespace, ui: Ui) -> int:
    if args.positions is not None:
        return _build_several(args, ui)
    with ui.progress(Pace(Store()).seconds) as progress:
        facts = _build_one(_pipeline(args, progress), ui)
    _write_json(args, facts)
    return int(ExitCode.PASSED)


def _build_one(pipeline: Pipeline, ui: Ui) -> dict[str, Any]:
    build = pipeline.build()
    image = pipeline.image(build)
    facts = pipeline.facts()
    how = "from the cache" if build.cached else f"built in {build.seconds:.0f} s"
    ui.line(Text(f"kernel {build.release} ({how}): {build.image}"))
    ui.line(Text(f"image {image.size_bytes / 1e6:.1f} MB: {image.initrd}"))
    for warning in facts["kernel"]["new_warnings"] or ():
        ui.line(Text(f"new warning: {warning}", style="yellow"))
    return facts


def _build_several(args: argparse.Namespace, ui: Ui) -> int:
    """Build every position that can be built, and say what is wrong with the others."""
    if args.position is not None:
        raise InputError("--position and --positions exclude each other")
    built, failed = [], False
    with ui.progress(Pace(Store()).seconds) as progress:
        first = _pipeline(args, progress)
        for position in parse_positions(args.positions, first.applied.last):
            target = dataclasses.replace(first.target, position=position)
            try:
                built.append(_build_one(Pipeline(target, first.store, progress), ui))
            except (SeriesError, BuildError, KconfigError) as error:
                ui.error(error)
                failed = True
    _write_json(args, built)
    return int(ExitCode.BAD_INPUT if failed else ExitCode.PASSED)


def _boot(args: argparse.Namespace, ui: Ui) -> int:
    with ui.progress() as progress:
        pipeline = _pipeline(args, progress)
        pipeline.check_machine()
        build = pipeline.build()
        words = (args.cmdline or "").split()
        if not args.timing:
            words.insert(0, "harness.console=1")
        if args.gdb:
            words.append("nokaslr")  # or no address fits vmlinux
        directory = _results_directory(None)
        machine = pipeline.machine(build, directory, cmdline=tuple(words), gdb=args.gdb)
        if args.timing:
            progress(f"booting {build.release} and updating it")
            with contextlib.closing(machine):
                stages = (*boot_stages(machine), *update_stages(machine))
        else:
            machine.start()
    if args.timing:
        ui.out.print(stage_table(stages))
        return int(ExitCode.PASSED)
    with machine:
        ui.out.print(machine.how_to_attach(), markup=False, soft_wrap=True)
        machine.interact()
    return int(ExitCode.PASSED)


def _run(args: argparse.Namespace, ui: Ui) -> int:
    directory = _results_directory(args.results)
    with ui.progress(Pace(Store()).seconds) as progress:
        pipeline = _pipeline(args, progress)
        pipeline.check_machine()
        pipeline.image(pipeline.build())
    cell = Cell(
        target=pipeline.target,
        pytest_args=tuple(args.pytest_args),
        judge=args.judge or "desired",
        cmdline=args.cmdline or "",
    )
    status = command.run_attached(pytest_argv(cell, directory), env=pytest_environment())
    path = directory / "results.json"
    if not path.exists():
        return status
    results = read_results(path)
    _remember(ui, results, directory)
    print_results(results, ui.out, directory=write_report(directory))
    _write_json(args, results.to_json())
    return status


def _remember(ui: Ui, results: RunResults, directory: Path) -> None:
    """Add a run to the history; what is wrong with that is no part of the run's verdict."""
    try:
        with History() as history:
            history.add_run(results, directory=directory, inputs=inputs_of(results))
    except HarnessError as error:
        ui.error(error)


def _history(args: argparse.Namespace, ui: Ui) -> int:
    with History() as history:
        if args.keep is not None:
            if args.keep < 0:
                raise InputError(f"--keep {args.keep}: there are no such runs", hint="such as 500")
            ui.out.print(f"dropped {history.prune(args.keep)} runs, kept {args.keep} at most")
        if args.what == "flaky":
            found = [
                dataclasses.asdict(item) | {"rate": f"{item.rate:.0%}"} for item in history.flaky()
            ]
        elif args.what == "bad":
            found = [dataclasses.asdict(item) for item in history.bad_since()]
        elif args.what == "figures":
            found = history.figures(args.limit, args.name or "")
        elif args.what == "test":
            if not args.name:
                raise InputError("no test is named", hint="harness history test memfd")
            found = history.trend(args.name, args.limit)
        else:
            found = history.runs(args.limit)
        ui.out.print(_history_table(found, args.what) if found else "nothing is recorded")
    _write_json(args, {"file": str(history.path), args.what: found})
    return int(ExitCode.PASSED)


_HISTORY_COLUMNS = {
    "runs": ("at", "release", "profile", "accel", "tests", "bad", "seconds", "directory"),
    "test": ("at", "release", "profile", "outcome", "bad", "seconds", "test"),
    "flaky": ("test", "release", "profile", "runs", "bad", "rate"),
    "bad": ("at", "commit", "profile", "position", "runs", "good", "test"),
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
    return f"{value:.1f}" if isinstance(value, float) else str(value)


def _nightly(args: argparse.Namespace, ui: Ui) -> int:
    spec = read_nightly(args.config)
    directory = _results_directory(args.results)
    started = time.monotonic()

    def on_cell(part: str, result: CellResult, subject: str) -> None:
        ui.line(Text(f"{part}: ") + cell_line(result, subject))

    store = Store()
    with ui.progress(Pace(store).seconds) as progress, only_one(store):
        parts = run_nightly(
            spec,
            store,
            directory,
            progress,
            parallel=_parallel(args),
            on_cell=on_cell,
            lane=progress.lane,
        )
    seconds, date = time.monotonic() - started, time.strftime("%Y-%m-%d")
    text = nightly_summary(parts, seconds=seconds, directory=directory, date=date)
    (directory / "summary.txt").write_text(text)
    found = nightly_json(parts, seconds=seconds, date=date)
    (directory / "nightly.json").write_text(json.dumps(found, indent=2) + "\n")
    write_report(directory)
    ui.out.print(f"\n{text}", markup=False, soft_wrap=True, end="")
    return int(nightly_code(parts))


def _plan(args: argparse.Namespace, ui: Ui) -> int:
    if args.stage is not None and args.format != "github":
        raise InputError("--stage goes with --format github", hint="gitlab's pipeline has both")
    if not args.per_job.isdecimal() or int(args.per_job) < 1:
        raise InputError(f"--per-job must be a whole number from 1 on, not {args.per_job!r}")
    profiles = list(dict.fromkeys(args.profiles or MATRIX_PROFILES))
    for profile in profiles:
        load_profile(profile)
    with ui.progress() as progress:
        pipeline = _pipeline(args, progress)
        if args.positions is None:
            # Only the tree can say which positions differ.
            last, usual = pipeline.applied.last, pipeline.applied.worth
        else:
            patches = pipeline.series.patches if pipeline.series is not None else ()
            last, usual = len(patches), None
    names = ("kernel", "base", "series", "jobs", "accel")
    jobs = make_jobs(
        {name: value for name in names if (value := getattr(args, name)) is not None},
        parse_positions(args.positions, last, usual),
        profiles,
        last=last,
        per_job=int(args.per_job),
        pytest_args=args.pytest_args,
    )
    if args.format == "gitlab":
        sys.stdout.write(to_gitlab(jobs))
    else:
        sys.stdout.write(to_github(jobs, Stage(args.stage or "test")) + "\n")
    return int(ExitCode.PASSED)


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


def _parallel(args: argparse.Namespace) -> int:
    return max(1, args.parallel or max(2, (os.cpu_count() or 1) // 2))


def _report(args: argparse.Namespace, ui: Ui) -> int:
    ui.out.print(f"report: {write_report(args.directory.resolve())}", markup=False, soft_wrap=True)
    return int(ExitCode.PASSED)


def _matrix(args: argparse.Namespace, ui: Ui) -> int:
    profiles = list(dict.fromkeys(args.profiles or MATRIX_PROFILES))
    for profile in profiles:
        load_profile(profile)
    with ui.progress() as progress:
        pipeline = _pipeline(args, progress)
        applied = pipeline.applied
        _ = pipeline.accel  # or nothing can be run
    subjects = subjects_of(applied)
    cells = make_cells(
        pipeline.target,
        parse_positions(args.positions, applied.last, applied.worth),
        profiles,
        pytest_args=tuple(args.pytest_args),
        cmdline=args.cmdline or "",
    )
    directory = _results_directory(args.results)

    results: list[CellResult] = []
    ui.out.print(HEADER)
    with ui.progress(Pace(pipeline.store).seconds, total=len(cells)) as progress:

        def run(cell: Cell) -> CellResult:
            with progress.lane(cell.name) as say:
                return run_cell(
                    cell,
                    store=Store(pipeline.store.root),
                    directory=directory / cell.name,
                    progress=say,
                    fresh=args.fresh,
                )

        ended = run_cells(cells, run, keep_going=args.keep_going, parallel=_parallel(args))
        for result in ended:
            results.append(result)
            progress.done()
            if result.results is not None and not result.cached:
                _remember(ui, result.results, result.directory)
            ui.line(cell_line(result, subjects[position_of(result)]))
            found = matrix_json(applied, profiles, results)
            (directory / "matrix.json").write_text(json.dumps(found, indent=2) + "\n")
    print_tables(results, subjects, ui.out)
    report = write_report(directory)
    ui.out.print(f"{summary(results, len(cells))}\nreport: {report}", soft_wrap=True)
    _write_json(args, found)
    return int(matrix_exit_code(results))


def _run_named(
    cell: Cell, name: str, ui: Ui, store: Store, directory: Path, *, fresh: bool
) -> CellResult:
    """Run a cell in the directory of that name, its progress under that name."""
    with ui.progress(Pace(store).seconds) as progress, progress.lane(name) as say:
        return run_cell(cell, store=store, directory=directory / name, progress=say, fresh=fresh)


def _bisect(args: argparse.Namespace, ui: Ui) -> int:
    tests = [find_test(text) for text in args.tests]
    good, bad = _position(args.good, "good"), _position(args.bad, "bad")
    with ui.progress() as progress:
        pipeline = _pipeline(args, progress)
        _ = pipeline.accel, pipeline.profile
        points = _points(args, pipeline)
    directory = _results_directory(args.results)

    def on_step(step: Step) -> None:
        ui.out.print(step_line(step), markup=False, soft_wrap=True)

    found = bisect(
        points,
        tests,
        lambda point: _judge(args, ui, point.target, tests, directory, point.name),
        good=good,
        bad=bad,
        on_step=on_step,
    )
    print_bisection(found, ui.out)
    result = bisect_json(found)
    (directory / "bisect.json").write_text(json.dumps(result, indent=2) + "\n")
    ui.out.print(
        f"log: {directory / 'bisect.json'}\nreport: {write_report(directory)}", soft_wrap=True
    )
    _write_json(args, result)
    return int(ExitCode.PASSED if len(found.first) == 1 else ExitCode.TESTS_FAILED)


def _mutants(args: argparse.Namespace, ui: Ui) -> int:
    mutants = [
        mutant
        for mutant in read_mutants(MUTANTS_DIR, args.names)
        if args.only_profile in (None, mutant.profile)
    ]
    with ui.progress() as progress:
        pipeline = _pipeline(args, progress)
        applied = pipeline.applied
        _ = pipeline.accel
    target = dataclasses.replace(pipeline.target, position=applied.last)
    directory = _results_directory(args.results)

    @functools.cache  # the kernel without a mutant is asked for again with every mutant
    def run(cell: Cell, name: str) -> CellResult:
        return _run_named(cell, name, ui, pipeline.store, directory, fresh=args.fresh)

    trials: list[Trial] = []
    for mutant in mutants:
        trials.append(try_mutant(mutant, target, run))
        ui.out.print(trial_line(trials[-1]), soft_wrap=True)
        (directory / "mutants.json").write_text(json.dumps(mutants_json(trials), indent=2) + "\n")
    print_trials(trials, ui.out)
    ui.out.print(f"report: {write_report(directory)}", markup=False, soft_wrap=True)
    _write_json(args, mutants_json(trials))
    if args.table is not None:
        source = applied.source
        args.table.write_text(
            mutants_markdown(trials, f"Linux {source.version}, {len(trials)} mutants.")
        )
    return int(mutants_exit_code(trials))


def _coverage(args: argparse.Namespace, ui: Ui) -> int:
    args.profile = "coverage"
    reasons = read_reasons()
    directory = _results_directory(args.results)
    with ui.progress(Pace(Store()).seconds) as progress:
        pipeline = _pipeline(args, progress)
        at = pipeline.position()
        cell = Cell(
            target=dataclasses.replace(pipeline.target, position=at.number),
            pytest_args=tuple(args.pytest_args),
            cmdline=args.cmdline or "",
        )
        result = run_cell(cell, store=pipeline.store, directory=directory, progress=progress)
        if result.results is None:
            raise InfrastructureError(f"{result.status}: {result.message}", log=result.log)
        progress("adding the counters up")
        sources = pipeline.source
        with pipeline.store.lock(sources.lock, waiting="it builds in the same tree"):
            check_out(sources, at.commit)
            counters = counted(directory, result.results.builds[str(at.number)])
            merged = merge(counters, sources.repo, directory)
            files = read_coverage(merged, sources.repo, reasons)
    print_coverage(files, ui.out)
    html = directory / "coverage" / "index.html"
    found = coverage_json(files, html)
    (directory / "coverage.json").write_text(json.dumps(found, indent=2) + "\n")
    ui.out.print(f"lines: {html}\nreport: {write_report(directory)}", markup=False, soft_wrap=True)
    _write_json(args, found)
    for test in result.unexpected:
        ui.out.print(Text(f"{test.outcome.value}: {test.id}", style="bold red"), soft_wrap=True)
    if percent(files) < args.min:
        ui.out.print(Text(f"less than {args.min:g} percent", style="bold red"))
    missed = bool(result.unexpected) or percent(files) < args.min
    return int(ExitCode.TESTS_FAILED if missed else ExitCode.PASSED)


def _position(text: str | None, name: str) -> int | None:
    if text is not None and not text.isdecimal():
        raise InputError(f"--{name} {text!r} is no position", hint="such as --good 0 --bad 11")
    return int(text) if text is not None else None


def _points(args: argparse.Namespace, pipeline: Pipeline) -> tuple[Point, ...]:
    if args.range is None:
        return position_points(pipeline.applied, pipeline.target)
    tree = pipeline.target.kernel.path
    if tree is None or args.series is not None or args.base is not None:
        raise InputError("--range goes with --kernel, and without --series and --base")
    if args.good is not None or args.bad is not None:
        raise InputError("the ends of --range are its ends: leave --good and --bad out")
    return commit_points(tree, args.range, pipeline.target)


def _judge(
    args: argparse.Namespace,
    ui: Ui,
    target: Target,
    tests: list[str],
    directory: Path,
    name: str,
) -> Judgement:
    tries = args.tries or "1"
    if not tries.isdecimal() or int(tries) < 1:
        raise InputError(f"--tries must be a whole number from 1 on, not {tries!r}")

    def run(cell: Cell, number: int) -> CellResult:
        pace = Pace(Store()).seconds
        with ui.progress(pace) as progress, progress.lane(name) as say:
            return run_cell(
                cell,
                store=Store(),
                directory=directory / f"{name.replace(' ', '-')}-try-{number}",
                progress=say,
                # The same answer twice says nothing about a flaky test.
                fresh=int(tries) > 1,
            )

    cell = cell_for(target, tests, args.cmdline or "")
    return run_tries(cell, tests, tries=int(tries), bad_on=args.bad_on, run=run)


def _verdict(args: argparse.Namespace, ui: Ui) -> int:
    if args.kernel is not None and args.series is None:
        args.series = "none"
    tests = [find_test(text) for text in args.tests]
    with ui.progress() as progress:
        pipeline = _pipeline(args, progress)
        target = dataclasses.replace(
            pipeline.target, position=pipeline.position().number if args.series != "none" else 0
        )
    directory = _results_directory(args.results)
    found = _judge(args, ui, target, tests, directory, pipeline.source.base[:12])
    if found.result.status is CellStatus.ERROR:
        raise InfrastructureError(found.reason, log=found.result.log)
    said = f"{found.verdict.value}: {found.reason}" if found.reason else found.verdict.value
    ui.out.print(said, markup=False, soft_wrap=True)
    code = VERDICT_CODES[found.verdict]
    return 1 - code if args.fixed and code < 2 else code


def _check_patch(args: argparse.Namespace, ui: Ui) -> int:
    data = _read_mail(args.mail)
    directory = _results_directory(args.results)
    file = directory / "patch.eml"
    file.write_bytes(data)
    with ui.progress() as progress:
        target, _ = _review_target(args)
        pipeline = Pipeline(target, Store(), progress)
        target = dataclasses.replace(place_patch(data, pipeline.series, target), extra=(file,))
        subject = read_headings(data)[0].subject
        cell = Cell(target=target, pytest_args=tuple(args.pytest_args), cmdline=args.cmdline or "")
        base = dataclasses.replace(target, extra=())
        with contextlib.suppress(SeriesError, BuildError, KconfigError):
            # What its warnings are compared with.
            Pipeline(base, Store(), progress).build()
        result = run_cell(cell, store=Store(), directory=directory / "patch", progress=progress)
    return _say_checks([result], {position_of(result): subject}, directory)


def _check_series(args: argparse.Namespace, ui: Ui) -> int:
    directory = _results_directory(args.results)
    with ui.progress() as progress:
        target, known = _review_target(args)
        if not known:
            target = place_series(_read_mail(args.mail), target, directory / "series.mbx")
        applied = Pipeline(target, Store(), progress).applied
        cells = make_cells(
            target,
            parse_positions(args.positions, applied.last),
            list(dict.fromkeys(args.profiles or REVIEW_PROFILES)),
            pytest_args=tuple(args.pytest_args),
            cmdline=args.cmdline or "",
        )
        results = [
            run_cell(
                cell,
                store=Store(),
                directory=directory / cell.name,
                progress=progress,
            )
            for cell in cells
        ]
    return _say_checks(results, subjects_of(applied), directory)


def _read_mail(name: str) -> bytes:
    if name == "-":
        if sys.stdin.isatty():
            raise InputError("there is no mail on standard input", hint="or name a file")
        return sys.stdin.buffer.read()
    try:
        return Path(name).read_bytes()
    except OSError as error:
        raise InputError(f"cannot read {name}: {error.strerror}") from error


def _review_target(args: argparse.Namespace) -> tuple[Target, bool]:
    """Return the target, and whether its series was named, by the user or by b4."""
    settings = vars(args)
    target = target_from_settings(lambda name: settings.get(name))
    if args.series is None and args.kernel is None:
        found = tracked(target, read_tracking(os.environ.get(TRACKING)), Path.cwd())
        return (found, True) if found is not None else (target, False)
    return target, args.series is not None


def _say_checks(results: list[CellResult], subjects: dict[int, str], directory: Path) -> int:
    checks = checks_of(results, subjects, directory)
    sys.stdout.write(json.dumps([check.to_json() for check in checks], indent=2) + "\n")
    codes = {Status.FAIL: ExitCode.TESTS_FAILED}
    if any(complaint.verdict is False for result in results for complaint in complaints(result)):
        codes[Status.WARN] = ExitCode.INFRASTRUCTURE
    return int(codes.get(worst(checks), ExitCode.PASSED))


VERDICT_CODES = {Verdict.PASSES: 0, Verdict.FAILS: 1, Verdict.NONE: 125}
"""What ``git bisect run`` wants to hear."""

_GIT_ABORTS = 128
"""From here on ``git bisect run`` takes an exit code for trouble and stops."""


def _results_directory(given: Path | None) -> Path:
    """Make a directory for results: *given*, or a new one that ``results/latest`` points to."""
    if given is not None:
        given.mkdir(parents=True, exist_ok=True)
        return given.resolve()
    top = Path.cwd() / "results"
    stamp = time.strftime("%Y%m%d-%H%M%S")
    number = 0
    while True:
        directory = top / (stamp if not number else f"{stamp}-{number}")
        try:
            top.mkdir(parents=True, exist_ok=True)
            directory.mkdir()
            break
        except OSError as error:
            if not directory.is_dir():
                raise InputError(
                    f"cannot make {directory}: {error.strerror}",
                    hint="--results names another directory",
                ) from error
            number += 1
    latest = top / "latest"
    with contextlib.suppress(OSError):
        latest.unlink(missing_ok=True)
        latest.symlink_to(directory.name)
    return directory


def _bench(args: argparse.Namespace, ui: Ui) -> int:
    chosen = choose(args.names)
    with ui.progress() as progress, tempfile.TemporaryDirectory(prefix="harness-bench-") as name:
        pipeline = _pipeline(args, progress)
        pipeline.check_machine()
        gauges = [g for g in _gauges(pipeline, progress) if chosen.intersection(g.figures)]
        figures = take(gauges, Path(name), runs=max(1, args.runs), progress=progress)
        release = pipeline.build().release
    figures += ratios(figures)
    ui.out.print(figure_table(figures))
    measured = {figure.name: figure for figure in figures if figure.values}
    accel, profile = pipeline.accel, pipeline.profile.name
    with History() as history:
        history.add_figures(
            figures_json(f for name, f in measured.items() if name in MEANINGS),
            release=release,
            accel=accel.name,
            profile=profile,
        )
    if args.table is not None:
        qemu, cpus = qemu_version(pipeline.arch), os.cpu_count()
        title = f"Linux {release}, profile {profile}, QEMU {qemu} ({accel.name}), {cpus} CPUs."
        write_tables(args.table, figures, title)
    _write_json(args, figures_json(figures))
    own = {name for gauge in gauges if not gauge.foreign for name in gauge.figures}
    failed = any(figure.error is not None for figure in figures if figure.name in own)
    return int(ExitCode.INFRASTRUCTURE if failed else ExitCode.PASSED)


def _gauges(pipeline: Pipeline, progress: Callable[[str], None]) -> tuple[Gauge, ...]:
    """Return everything that measures, in the order in which it does."""
    build = pipeline.build()

    def pipeline_for(target: Target) -> Pipeline:
        return Pipeline(target, pipeline.store, lambda _text: None)

    def make(logs: Path) -> VirtualMachine:
        return pipeline.machine(build, logs)

    virtme = pipeline_for(dataclasses.replace(pipeline.target, profile=VIRTME))
    return (
        boot_gauge("boot_to_ssh", make),
        *virtme_gauges(virtme),
        *clone_gauges(pipeline.templates(build)),
        boot_gauge("boot_cold", make, cold=True),
        vmtest_gauge(pipeline),
        build_gauge(pipeline_for, pipeline.target),
        *verdict_gauges(pipeline),
        *soak_gauges(lambda store: pipeline.templates(build, store=store), progress),
    )


def _cache(args: argparse.Namespace, ui: Ui) -> int:
    store = Store()
    entries = list(store.entries())
    doomed: list[Entry] = []
    if args.what == "prune":
        if args.unused_days is None and args.max_gib is None:
            raise InputError("nothing says what to drop", hint="--unused-days N or --max-gib N")
        doomed = to_prune(entries, unused_days=args.unused_days, max_gib=args.max_gib)
        for entry in doomed:
            store.remove(entry.kind, entry.key)
    kinds: dict[str, list[Entry]] = {}
    for entry in doomed if args.what == "prune" else entries:
        kinds.setdefault(entry.kind, []).append(entry)
    table = Table(box=None, pad_edge=False)
    table.add_column("kind")
    for column in ("entries", "MB"):
        table.add_column(column, justify="right")
    found = {
        kind: {"entries": len(own), "bytes": sum(entry.size_bytes for entry in own)}
        for kind, own in sorted(kinds.items())
    }
    if args.what == "list":
        for name, size in store.other_sizes().items():
            found[name] = {"entries": 1, "bytes": size}
    for kind, facts in found.items():
        table.add_row(kind, str(facts["entries"]), f"{facts['bytes'] / 1e6:.0f}")
    total = sum(facts["bytes"] for facts in found.values())
    ui.out.print(table)
    said = "dropped" if args.what == "prune" else "in all"
    ui.out.print(f"{said}: {total / 1e9:.2f} GB, in {store.root}", soft_wrap=True)
    _write_json(args, {"root": str(store.root), "kinds": found, "bytes": total})
    return int(ExitCode.PASSED)


def _clean(args: argparse.Namespace, ui: Ui) -> int:
    store = Store()
    kept = () if args.all else ("source",)
    freed, count = 0, 0
    for entry in list(store.entries()):
        if entry.kind not in kept:
            store.remove(entry.kind, entry.key)
            freed += entry.size_bytes
            count += 1
    store.sweep(0.0)
    if args.all:
        for name in ("work", "ccache", "downloads"):
            shutil.rmtree(store.root / name, ignore_errors=True)
    ui.out.print(f"dropped {count} entries, {freed / 1e6:.0f} MB, from {store.root}")
    _write_json(args, {"entries": count, "bytes": freed, "root": str(store.root)})
    return int(ExitCode.PASSED)
