# SPDX-License-Identifier: GPL-2.0-only
"""What several commands have in common: options, and what becomes of them."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from harness.base.errors import InputError
from harness.base.settings import target_from_settings
from harness.base.store import Store
from harness.base.terminal import Ui
from harness.results.directory import results_directory
from harness.run.pipeline import Pipeline

MATRIX_PROFILES = ("default", "debug")
"""Profiles of a matrix when none is named."""

ACCELERATORS = ("auto", "kvm", "tcg")

Run = Callable[[argparse.Namespace, Ui], int]
"""What runs a command: it returns the exit code."""


class Commands:
    """The commands of a parser, as its modules add them."""

    def __init__(self, parser: argparse.ArgumentParser) -> None:
        self._commands = parser.add_subparsers(dest="command", metavar="COMMAND")

    def add(
        self, name: str, run: Run, text: str, examples: str, *parents: argparse.ArgumentParser
    ) -> argparse.ArgumentParser:
        """Add the command *name*, which has the options of *parents* and what the caller adds.

        :param text: one line that says what it does.
        :param examples: how it is called, shown below its help.
        """
        made = self._commands.add_parser(
            name,
            help=text,
            description=text,
            epilog=examples,
            parents=[COMMON, *parents],
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        made.set_defaults(run=run)
        return made


def _options(group: str | None = None) -> tuple[argparse.ArgumentParser, Any]:
    """Return a parser for others to inherit from, and where its options are to be added."""
    parser = argparse.ArgumentParser(add_help=False)
    return parser, parser if group is None else parser.add_argument_group(group)


COMMON, _group = _options()
_group.add_argument("-v", "--verbose", action="count", default=0, help="say more (twice: all)")
_group.add_argument("--debug", action="store_true", help="show a traceback with an error")

TREE, _group = _options("what is tested")
_group.add_argument(
    "--suite", metavar="DIR", help="what it is about (default: the one here, or the shipped one)"
)
_group.add_argument(
    "--kernel",
    metavar="WHICH",
    help="a name, git tree, tarball or source package (default: the suite's)",
)
_group.add_argument("--base", metavar="REV", help="revision of a git tree (default: HEAD)")
_group.add_argument(
    "--series",
    metavar="WHERE",
    help="mbox, maildir, directory or A..B; 'none' for no patches (default: the suite's)",
)
_group.add_argument(
    "--cc", metavar="PROGRAM", help="compiler, such as gcc-14 (default: $CC, or gcc)"
)
_group.add_argument("-j", "--jobs", metavar="N", help="parallel compilers (default: all CPUs)")

TARGET, _group = _options("where")
_group.add_argument("--position", metavar="N", help="patches applied, 0 = none (default: all)")
_group.add_argument(
    "--extra", metavar="FILES", help="patches on top of the position, colon-separated"
)
_group.add_argument("--profile", metavar="NAME", help="kernel profile (default: default)")

PROFILE, _group = _options()
_group.add_argument("--profile", metavar="NAME", help="kernel profile (default: default)")

PYTEST, _group = _options()
_group.add_argument("pytest_args", nargs="*", metavar="-- PYTEST-ARGS", help="passed to pytest")

OUTPUT, _group = _options()
_group.add_argument("--json", metavar="FILE", type=Path, help="write the result for machines")

PLACE, _group = _options()
_group.add_argument("--results", metavar="DIR", type=Path, help="where the report goes")

VM, _group = _options()
_group.add_argument("--accel", choices=ACCELERATORS, help="accelerator (default: auto)")
_group.add_argument("--qemu", metavar="PROGRAM", help="QEMU (default: the one on PATH)")
_group.add_argument("--cmdline", metavar="WORDS", help="further kernel parameters")
_group.add_argument(
    "--no-templates", action="store_true", help="boot every machine, clone none (slower)"
)


def add_cell_options(parser: argparse.ArgumentParser, profiles: Sequence[str]) -> None:
    """Let *parser* choose cells: positions, and profiles that are *profiles* without a word."""
    parser.add_argument("--positions", metavar="LIST", help="such as 0..11 or 0,5 (default: all)")
    parser.add_argument(
        "--profile",
        dest="profiles",
        action="append",
        metavar="NAME",
        help=f"kernel profile, repeatable (default: {' and '.join(profiles)})",
    )


def pipeline_of(args: argparse.Namespace, progress: Callable[[str], None]) -> Pipeline:
    """Return the stages for what the options say."""
    settings = vars(args)
    target = target_from_settings(lambda name: settings.get(name))
    return Pipeline(target, Store(), progress)


def results_of(args: argparse.Namespace) -> Path:
    """Make the directory for a command's results: that of ``--results``, or a new one.

    :raises InputError: when it cannot be made, or cleared of an earlier run.
    """
    return results_directory(args.results, Path.cwd() / "results")


def write_json(args: argparse.Namespace, value: Any) -> None:
    """Write *value* to the file of ``--json``, if there is one.

    :raises InputError: when it cannot be written.
    """
    if args.json is not None:
        try:
            args.json.parent.mkdir(parents=True, exist_ok=True)
            args.json.write_text(json.dumps(value, indent=2) + "\n")
        except OSError as error:
            raise InputError(f"cannot write {args.json}: {error.strerror}") from error


def parallel_cells(args: argparse.Namespace) -> int:
    """Return how many cells are to be under way at once."""
    return max(1, args.parallel or max(2, (os.cpu_count() or 1) // 2))
