# SPDX-License-Identifier: GPL-2.0-only
"""Commands that b4 runs over patches as they come in mails."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from harness.base.errors import BuildError, ExitCode, InputError, KconfigError, SeriesError
from harness.base.positions import parse_positions
from harness.base.settings import target_from_settings
from harness.base.spec import Target
from harness.base.store import Store
from harness.base.terminal import Ui
from harness.cli.options import (
    MACHINE,
    PLACE,
    PROFILE,
    TREE,
    Commands,
    add_cell_options,
    profiles_of,
    results_of,
)
from harness.kernel.series import read_headings
from harness.report.review import to_json as review_json
from harness.report.text import reroll_lines
from harness.run.cell import Cell, CellResult
from harness.run.executor import run_cell
from harness.run.pipeline import Pipeline
from harness.run.provenance import left_out_facts
from harness.search.matrix import complaints, make_cells, position_of, subjects_of
from harness.search.review import (
    TRACKING,
    Status,
    checks_of,
    place_patch,
    place_series,
    read_tracking,
    tracked,
    worst,
)

REVIEW_PROFILES = ("default",)
"""Profiles of a review when none is named."""

_CHECK_PATCH_EXAMPLES = """\
examples:
  harness check-patch 0005-mm-Defer.patch
  harness check-patch --series v4.mbx -- -k module <mail
  git config b4.review-perpatch-check-cmd 'harness check-patch'

prints a JSON array of results (tool, status, summary, url, details) as b4 review reads it
"""
_CHECK_SERIES_EXAMPLES = """\
examples:
  harness check-series v4.mbx
  harness check-series --positions 0..3 --profile debug --series v4.mbx
  git config b4.review-series-check-cmd 'harness check-series'

prints a JSON array of results (tool, status, summary, url, details) as b4 review reads it
"""


def add_commands(commands: Commands) -> None:
    """Add ``check-patch`` and ``check-series``."""
    parents = (TREE, MACHINE, PLACE)
    text = "check one patch, for b4"
    patch = commands.add(
        "check-patch", _check_patch, text, _CHECK_PATCH_EXAMPLES, *parents, PROFILE
    )
    text = "check a series, for b4"
    series = commands.add("check-series", _check_series, text, _CHECK_SERIES_EXAMPLES, *parents)
    add_cell_options(series, " and ".join(REVIEW_PROFILES))
    for check in (patch, series):
        check.add_argument(
            "mail", nargs="?", default="-", metavar="FILE", help="default: standard input"
        )
        check.set_defaults(pytest_args=())
        check.usage = f"{check.prog} [OPTION ...] [FILE] [-- PYTEST-ARGS ...]"


def _check_patch(args: argparse.Namespace, ui: Ui) -> int:
    data = _read_mail(args.mail)
    directory = results_of(args)
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
    directory = results_of(args)
    with ui.progress() as progress:
        target, known = _review_target(args)
        if not known:
            target = place_series(_read_mail(args.mail), target, directory / "series.mbx")
        pipeline = Pipeline(target, Store(), progress)
        applied = pipeline.applied
        series = pipeline.series
        said = reroll_lines(series.taken, left_out_facts(series)) if series else []
        cells = make_cells(
            target,
            parse_positions(args.positions, applied.last),
            profiles_of(args, REVIEW_PROFILES),
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
    return _say_checks(results, subjects_of(applied), directory, said)


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


def _say_checks(
    results: list[CellResult],
    subjects: dict[int, str],
    directory: Path,
    said: Sequence[str] = (),
) -> int:
    """Print what came of it, return the exit code.

    :param said: of which mails were taken.
    """
    checks = checks_of(results, subjects, said)
    sys.stdout.write(json.dumps(review_json(checks, directory), indent=2) + "\n")
    failed = {check.tool for check in checks if check.status is Status.FAIL}
    # What cannot be applied says nothing about a kernel.
    codes = {Status.FAIL: ExitCode.TESTS_FAILED if failed != {"apply"} else ExitCode.BAD_INPUT}
    if any(complaint.verdict is False for result in results for complaint in complaints(result)):
        codes[Status.WARN] = ExitCode.INFRASTRUCTURE
    return int(codes.get(worst(checks), ExitCode.PASSED))
