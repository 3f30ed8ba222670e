# SPDX-License-Identifier: GPL-2.0-only
"""Where results go: a directory of their own, with nothing of an earlier run in it."""

from __future__ import annotations

import contextlib
import itertools
import shutil
import time
from collections.abc import Container
from pathlib import Path

from harness.base.errors import InputError

LATEST = "latest"
"""The link, beside results directories, to the newest of them."""

AGAIN = "again"
"""The directory of what tests came to when they were asked once more."""

TEST_FILE = "test"
"""Beside gcov's counters: the id of the test that ran meanwhile; empty when it was no test."""

LEFT_FILE = "left"
"""Beside them where the kernel that counted was left for the next one, whatever became of that."""

_SUMMARIES = (
    *("matrix.json", "bisect.json", "mutants.json", "nightly.json"),
    *("compat.json", "bugs.json"),
)
"""What commands write that run several kernels, each in a directory below."""

_LEFT = (
    *("results.json", "results.ktap", "junit.xml", "console", "machines", "schedules", AGAIN),
    *(*_SUMMARIES, "coverage.json", "summary.txt", "report.html"),
)
"""Names of what a run leaves that a later one, or who reads it, could take for the later one's."""


def new_name() -> str:
    """Return what a results directory of now is called; another of this second is as well."""
    return time.strftime("%Y%m%d-%H%M%S")


def results_directory(given: Path | str | None, top: Path, *, shared: str | None = None) -> Path:
    """Make a directory for the results of one run.

    :param given: the directory that was asked for.  What an earlier run left in it is removed,
        other files stay.  ``None`` makes a new one below *top*, and the link ``latest`` to it.
    :param shared: its name below *top*, when several processes make it and have agreed on that;
        ``None`` takes the time, and a name that nobody else has.
    :raises InputError: when it cannot be made, or cleared.
    """
    try:
        if given is not None:
            directory = Path(given).resolve()
            directory.mkdir(parents=True, exist_ok=True)
            clear_results(directory)
            return directory
        top.mkdir(parents=True, exist_ok=True)
        directory = _new(top) if shared is None else top / shared
        directory.mkdir(exist_ok=True)
    except OSError as error:
        raise InputError(
            f"cannot make {error.filename}: {error.strerror}",
            hint="--results names another directory",
        ) from error
    with contextlib.suppress(OSError):
        (top / LATEST).unlink(missing_ok=True)
        (top / LATEST).symlink_to(directory.name)
    return directory


def _new(top: Path) -> Path:
    """Make a directory that nobody else has made."""
    name, number = new_name(), 0
    while True:
        directory = top / (f"{name}-{number}" if number else name)
        try:
            directory.mkdir()
        except FileExistsError:
            number += 1
        else:
            return directory


def free_name(name: str, taken: Container[str]) -> str:
    """Return *name*, with a number from 2 on behind it when it is taken."""
    names = itertools.chain([name], (f"{name}-{number}" for number in itertools.count(2)))
    return next(each for each in names if each not in taken)


def clear_results(directory: Path) -> None:
    """Remove what an earlier run left in *directory* and could be mistaken for a later one's.

    Directories of single kernels are cleared as well when a command that ran several wrote its
    summary beside them.

    :raises InputError: when something cannot be removed.
    """
    if any((directory / name).exists() for name in _SUMMARIES):
        for child in directory.iterdir():
            if child.is_dir() and not child.is_symlink():
                clear_results(child)
    for name in _LEFT:
        path = directory / name
        try:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        except OSError as error:
            raise InputError(
                f"cannot remove {error.filename}, of an earlier run: {error.strerror}",
                hint="--results names another directory",
            ) from error
