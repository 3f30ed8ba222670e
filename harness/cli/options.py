# SPDX-License-Identifier: GPL-2.0-only
"""What several commands have in common: options, and what becomes of them."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from harness.base.cpus import usable_cpus
from harness.base.errors import InputError
from harness.base.progress import OnProgress
from harness.base.setting import Group
from harness.base.settings import SETTING, SETTINGS, target_from_settings
from harness.base.store import Store
from harness.base.terminal import Ui
from harness.results.directory import results_directory
from harness.run.pipeline import Pipeline

Run = Callable[[argparse.Namespace, Ui], int]
"""What runs a command: it returns the exit code."""


class Commands:
    """The commands of *parser*, as its modules add them."""

    def __init__(self, parser: argparse.ArgumentParser) -> None:
        self.parser = parser
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


def add_settings(parser: Any, *names: str) -> None:
    """Let *parser*, or a group of one, take settings, by their names.

    What they are is known after :func:`take_settings`.
    """
    for name in names:
        setting = SETTING[name]
        words = [setting.short, setting.option] if setting.short else [setting.option]
        if setting.flag is not None:
            text = f"{setting.flag.help} [{setting.variable}={setting.flag.value}]"
            parser.add_argument(
                *words, dest=name, action="store_const", const=setting.flag.value, help=text
            )
            continue
        kind = {"choices": setting.choices} if setting.choices else {"metavar": setting.metavar}
        parser.add_argument(*words, dest=name, help=f"{setting.text} [{setting.variable}]", **kind)


def take_settings(args: argparse.Namespace) -> None:
    """Put into *args* what each setting is: what the command line says, or the environment.

    :raises SpecError: when it cannot be that.
    """
    given = vars(args)
    for setting in SETTINGS:
        if setting.name in given:
            given[setting.name] = setting.value(given[setting.name])


def _settings(group: Group) -> argparse.ArgumentParser:
    """Return a parser with all settings of a group, for others to inherit from."""
    parser, heading = _options(group.value)
    add_settings(heading, *(setting.name for setting in SETTINGS if setting.group is group))
    return parser


COMMON, _group = _options()
_group.add_argument("-v", "--verbose", action="count", default=0, help="say more (twice: all)")
_group.add_argument("--debug", action="store_true", help="show a traceback with an error")
add_settings(_group, "room")

TREE = _settings(Group.TREE)
TARGET = _settings(Group.TARGET)
MACHINE = _settings(Group.MACHINE)

PROFILE, _group = _options()
add_settings(_group, "profile")

PLACE, _group = _options()
add_settings(_group, "results")

PYTEST, _group = _options()
_group.add_argument("pytest_args", nargs="*", metavar="-- PYTEST-ARGS", help="passed to pytest")

OUTPUT, _group = _options()
_group.add_argument("--json", metavar="FILE", type=Path, help="write the result for machines")


def add_cell_options(parser: argparse.ArgumentParser, profiles: str) -> None:
    """Let *parser* choose cells: positions, and profiles.

    :param profiles: which profiles they are without a word, for the help.
    """
    parser.add_argument("--positions", metavar="LIST", help="such as 0..11 or 0,5 (default: all)")
    parser.add_argument(
        "--profile",
        dest="profiles",
        action="append",
        metavar="NAME",
        help=f"kernel profile, repeatable (default: {profiles}) "
        f"[{SETTING['profile'].variable}: one]",
    )


def profiles_of(args: argparse.Namespace, usual: Sequence[str]) -> list[str]:
    """Return the profiles of the cells that :func:`add_cell_options` let choose."""
    one = os.environ.get(SETTING["profile"].variable)
    return list(dict.fromkeys(args.profiles or ([one] if one else usual)))


def pipeline_of(args: argparse.Namespace, progress: OnProgress) -> Pipeline:
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
    return max(1, getattr(args, "parallel", None) or max(2, usable_cpus() // 2))
