# SPDX-License-Identifier: GPL-2.0-only
"""The command line.  The only place that prints errors and decides exit codes."""

from __future__ import annotations

import argparse
import functools
import os
import signal
import sys
import traceback
from typing import NoReturn

from harness import __version__
from harness.base.errors import ExitCode, HarnessError
from harness.base.room import gib
from harness.base.settings import SETTINGS
from harness.base.terminal import Ui
from harness.base.trouble import trouble_of_host
from harness.cli import (
    cluster,
    judge,
    mail,
    prepare,
    search,
    several,
    shell,
    suite,
    unattended,
    upkeep,
)
from harness.cli.options import Commands, take_settings
from harness.cli.search import VERDICT_CODES

EXAMPLES = """\
examples:
  harness run                               the shipped series on its kernel, all guest tests
  harness run --position 0                  the same tests before the first patch
  harness matrix                            every position: does each test do what it states?
  harness run --kernel ~/linux --base v7.0 --series v4.mbx
  harness boot --position 10 --profile debug
  harness config --explain KASAN

An option that names a variable, such as --kernel [HARNESS_KERNEL], is also looked for in the
environment; the command line goes first, and an empty variable is none.
"""

_GIT_ABORTS = 128
"""From here on ``git bisect run`` takes an exit code for trouble and stops."""


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
    parser = _parser()
    shell.complete(parser)
    args = parser.parse_args(words)
    if args.run is None:
        # Nothing was done: a script that lost its words must not go on.
        parser.print_help(sys.stderr)
        return int(ExitCode.BAD_INPUT)
    if further is not None:
        args.pytest_args = further
    return run_with_ui(args)


def run_with_ui(args: argparse.Namespace) -> int:
    """Run what *args* ask for, print its error if there is one; return the exit code."""
    ui = Ui(verbose=args.verbose)
    _take_signals()
    try:
        take_settings(args)
        if getattr(args, "room", None) is not None:
            # Before minutes are spent on a build: room is made at its end.
            gib(args.room)
        for setting in SETTINGS:
            value = getattr(args, setting.name, None)
            if setting.inherited and value is not None:
                # Cells run in processes of their own; what this is changes none of their results.
                os.environ[setting.variable] = value
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
    except Exception as error:  # noqa: BLE001 - Python would exit with 1: the kernel's failure
        trouble = trouble_of_host(error)
        if trouble is None or args.debug:
            traceback.print_exc()
        if trouble is not None:
            ui.error(trouble)
        return int(ExitCode.INFRASTRUCTURE)


def _take_signals() -> None:
    """Let what ends a job end the command as an interrupt does.

    What was ignored when the command was started, by ``nohup`` or by a shell that put it into the
    background, does nothing here.  But programs that are started must hear of an interrupt: what
    is ignored they would inherit, a handler they do not (``execve(2)``).
    """
    signal.signal(signal.SIGTERM, _interrupt)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        terminal = tuple(stream for stream in (1, 2) if os.isatty(stream))
        signal.signal(signal.SIGHUP, functools.partial(_hang_up, terminal))
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, lambda _signal, _frame: None)


def _interrupt(_signal: int, _frame: object) -> NoReturn:
    raise KeyboardInterrupt


def _hang_up(terminal: tuple[int, ...], _signal: int, _frame: object) -> NoReturn:
    # Kernel and shell may both tell; the second must not disturb the teardown.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    # Nor must what is said meanwhile: writing to a terminal that went is an error.
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in terminal:
        os.dup2(nowhere, stream)
    os.close(nowhere)
    raise KeyboardInterrupt


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="harness",
        description="Prove a kernel patch series in QEMU, patch by patch.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"harness {__version__}")
    parser.set_defaults(run=None, verbose=0, debug=False)
    commands = Commands(parser)
    for module in (
        prepare,
        suite,
        judge,
        several,
        search,
        mail,
        unattended,
        cluster,
        upkeep,
        shell,
    ):
        module.add_commands(commands)
    return parser
