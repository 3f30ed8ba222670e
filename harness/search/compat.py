# SPDX-License-Identifier: GPL-2.0-only
"""Which kernel hands over to which: a cell for each ordered pair, and what it came to."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence

from harness.base.kernel_name import target_named
from harness.base.spec import Target
from harness.base.text import first_line
from harness.results.compat import Fate, PairResult, PairTest, Stated, fate_of, worst
from harness.results.records import CellStatus
from harness.results.results import TestResult
from harness.run.cell import Cell, CellResult, reproduce

TWO_KERNELS = ("-m", "two_kernels")
"""What tells pytest which tests go from one kernel to another."""

Pair = tuple[str, str]
"""The kernel that hands over, and the one that takes over."""


def pairs_of(sources: Sequence[str], targets: Sequence[str]) -> tuple[Pair, ...]:
    """Return every ordered pair, also of a kernel with itself."""
    each = itertools.product(dict.fromkeys(sources), dict.fromkeys(targets))
    return tuple(each)


def pair_cell(pair: Pair, like: Target, *, cmdline: str = "") -> Cell:
    """Return the cell that goes from one kernel to the other.

    :param like: suite, profile and host.
    :raises SpecError: when one is no kernel (:mod:`harness.base.kernel_name`).
    """
    source, target = pair
    target_named(target, like)
    return Cell(
        target=target_named(source, like),
        pytest_args=TWO_KERNELS,
        judge="desired",
        cmdline=cmdline,
        to=target,
    )


def pair_name(pair: Pair) -> str:
    """Return what a pair's directory and job are called: letters, digits and dashes."""
    return "-to-".join(directory_name(name) for name in pair)


def directory_name(name: str) -> str:
    """Return what a kernel's directory is called: letters, digits and dashes."""
    return re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-")


def _message(test: TestResult) -> str:
    """Return what a test said, one line, without the type of what it raised."""
    return first_line(test.message.removeprefix(f"{test.exception}: "))


def pair_result(pair: Pair, result: CellResult, stated: Stated) -> PairResult:
    """Return what became of a pair."""
    source, target = pair
    tests = tuple(
        PairTest(id=test.id, fate=fate, message=_message(test), seconds=test.seconds)
        for test in result.tests
        if (fate := fate_of(test)) is not None
    )
    fate = worst(test.fate for test in tests)
    said = (test.message for test in tests if test.fate is fate)
    message = next(said, "no test had anything to ask")
    if result.status is not CellStatus.TESTED:
        fate, message = Fate.NO_VERDICT, f"{result.status.value}: {first_line(result.message)}"
    return PairResult(
        source=source,
        target=target,
        fate=fate,
        stated=stated.get(source, {}).get(target),
        message="" if fate is Fate.CARRIED else message,
        tests=tests,
        directory=result.directory,
        seconds=result.seconds,
        cached=result.cached,
        reproduce=reproduce(result.cell),
    )
