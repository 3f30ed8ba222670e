# SPDX-License-Identifier: GPL-2.0-only
"""What a shell gets: completion of the command line, and a manual page."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import argcomplete
import jinja2
from argcomplete.completers import DirectoriesCompleter, FilesCompleter
from argcomplete.shell_integration import shellcode

from harness import NAME, __version__
from harness.base.errors import ExitCode, HarnessError
from harness.base.spec import load_kernels
from harness.base.suite import Suite, find_suite, load_suite
from harness.base.terminal import Ui
from harness.cli.options import Commands
from harness.search.mutants import mutants_of

_COMPLETION_EXAMPLES = """\
examples:
  harness completion bash >~/.harness.bash  and in ~/.bashrc: . ~/.harness.bash
  harness completion zsh >~/_harness        in a directory of $fpath
"""
_MAN_EXAMPLES = """\
examples:
  harness man >~/harness.1                  man -l ~/harness.1 shows it
"""

Completer = Callable[..., Iterable[str]]
"""Takes what was typed, and ``parsed_args``; returns the words that it may become."""


def add_commands(commands: Commands) -> None:
    """Add ``completion`` and ``man``."""
    text = "print what lets a shell complete commands, options and names"
    completion = commands.add("completion", _completion, text, _COMPLETION_EXAMPLES)
    completion.add_argument("shell", choices=("bash", "zsh"))

    def man(_args: argparse.Namespace, _ui: Ui) -> int:
        sys.stdout.write(manual_page(commands.parser))
        return int(ExitCode.PASSED)

    commands.add("man", man, "print the manual page", _MAN_EXAMPLES)


def _completion(args: argparse.Namespace, _ui: Ui) -> int:
    code = shellcode(["harness"], shell=args.shell)
    sys.stdout.write(code)
    return int(ExitCode.PASSED)


# -- completion ------------------------------------------------------------------------------


def complete(parser: argparse.ArgumentParser) -> None:
    """Answer the shell and end the process, if it asks; else do nothing."""
    if "_ARGCOMPLETE" not in os.environ:
        return
    for command, sub in commands_of(parser):
        for action in sub._actions:
            completer = _COMPLETERS.get(f"{command} {action.dest}", _COMPLETERS.get(action.dest))
            if completer is not None:
                action.completer = completer  # type: ignore[attr-defined]
    argcomplete.autocomplete(parser)


def commands_of(parser: argparse.ArgumentParser) -> list[tuple[str, argparse.ArgumentParser]]:
    """Return the commands by name, each with its parser."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return list(action.choices.items())
    return []


def _suite(parsed_args: argparse.Namespace) -> Suite | None:
    """Return the suite that is meant so far; a shell that completes shows no errors."""
    try:
        return load_suite(find_suite(getattr(parsed_args, "suite", None)))
    except HarnessError:
        return None


def _kernels(prefix: str, **_further: Any) -> list[str]:
    return [*load_kernels(), *FilesCompleter()(prefix)]


def _profiles(parsed_args: argparse.Namespace, **_further: Any) -> list[str]:
    suite = _suite(parsed_args)
    return list(suite.profiles) if suite is not None else []


def _mutants(parsed_args: argparse.Namespace, **_further: Any) -> list[str]:
    suite = _suite(parsed_args)
    try:
        return [mutant.name for mutant in mutants_of(suite)] if suite is not None else []
    except HarnessError:
        return []


def _tests(parsed_args: argparse.Namespace, **_further: Any) -> Iterator[str]:
    suite = _suite(parsed_args)
    for path in sorted(suite.tests.rglob("test_*.py")) if suite is not None else ():
        yield from re.findall(r"^def (test_\w+)", path.read_text(), re.M)


def _results(prefix: str, **_further: Any) -> list[str]:
    there = [str(path) for path in sorted(Path("results").glob("*")) if path.is_dir()]
    others = DirectoriesCompleter()(prefix)
    return there + [name for name in others if name.rstrip("/") not in there]


_COMPLETERS: dict[str, Completer] = {
    "kernel": _kernels,
    "profile": _profiles,
    "profiles": _profiles,
    "only_profile": _profiles,
    "suite": DirectoriesCompleter(),
    "tests": _tests,
    "mutants names": _mutants,
    "results": _results,
    "directory": _results,
    "init directory": DirectoriesCompleter(),
}
"""Where an argument goes, behind the command's name where others mean something else by it."""


# -- the manual page -------------------------------------------------------------------------


def manual_page(parser: argparse.ArgumentParser) -> str:
    """Return the manual page of a command line, in the language of man(7)."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("harness.cli", "."),
        autoescape=False,  # noqa: S701 - roff has an escape of its own, below
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["roff"] = roff
    return environment.get_template("harness.1.j2").render(
        name=NAME,
        version=__version__,
        date=date.today().isoformat(),
        description=parser.description or "",
        examples=_examples(parser),
        commands=[
            {
                "name": name,
                "description": sub.description or "",
                "usage": _usage(sub),
                "options": [
                    _option(sub, action) for action in sub._actions if action.dest != "help"
                ],
                "examples": _examples(sub),
            }
            for name, sub in commands_of(parser)
        ],
    )


def roff(text: str) -> str:
    """Return *text* so that roff prints it as it is."""
    text = text.replace("\\", r"\e").replace("-", r"\-").replace("'", r"\(aq").replace("^", r"\(ha")
    text = text.replace("~", r"\(ti").replace("`", r"\(ga")
    return re.sub(r"^(?=\.)", r"\\&", text, flags=re.M)


def _usage(parser: argparse.ArgumentParser) -> str:
    text = parser.format_usage().removeprefix("usage: ")
    return " ".join(text.split())


def _examples(parser: argparse.ArgumentParser) -> str:
    """Return what stands below the help, without its first line, which says ``examples:``."""
    return "\n".join((parser.epilog or "").rstrip().splitlines()[1:])


def _option(parser: argparse.ArgumentParser, action: argparse.Action) -> tuple[str, str]:
    """Return an argument as it is written, and what it is for."""
    value = "" if action.nargs == 0 else parser._get_formatter()._format_args(action, action.dest)
    names = ", ".join(action.option_strings)
    return " ".join(filter(None, (names, value))), (action.help or "") % {"default": action.default}
