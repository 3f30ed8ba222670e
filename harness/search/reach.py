# SPDX-License-Identifier: GPL-2.0-only
"""Which tests reach a line: what gcov counted while each of them ran.

With the profile ``coverage`` machines hand their counters over after every test
(:meth:`harness.guest.machine.Machine.collect_counters`), with the test's name beside them.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.base import command
from harness.base.spec import DEFAULT_CC
from harness.base.timeouts import HOST
from harness.results.directory import LEFT_FILE, TEST_FILE

Reach = Mapping[str, frozenset[tuple[str, int]]]
"""Test -> the lines that it reaches: path in the kernel tree, and number."""


def gcov_of(cc: str) -> str:
    """Return the gcov that reads what a compiler's code has counted."""
    return re.sub(r"gcc(?=[^/]*$)", "gcov", cc)


def read_reach(
    directories: Sequence[Path],
    files: Iterable[str],
    at_reboot: Iterable[tuple[str, int]] = (),
    *,
    cc: str = DEFAULT_CC,
) -> dict[str, frozenset[tuple[str, int]]]:
    """Return which lines of *files* each test reaches.

    Lines that gcov does not count are reached with the counted one before them: the second of a
    statement, and a ``return -EINVAL;`` that the compiler has made one with its condition.

    :param directories: what :func:`harness.search.coverage.counted` returned.
    :param files: paths in the kernel tree; others are not looked at.
    :param at_reboot: lines that run on the way to the next kernel, and while that boots: counts
        are lost with the kernel that counted, so each test that goes there reaches them.
    :param cc: the compiler: its counters are for its own gcov.
    """
    wanted = {name: name for name in files}
    found: dict[str, set[tuple[str, int]]] = {}
    for directory in directories:
        test = read_test(directory)
        counters = [str(path.relative_to(directory)) for path in directory.rglob("*.gcda")]
        mine = [path for path in counters if any(_same(path, name) for name in wanted)]
        if not test:
            continue
        lines = found.setdefault(test, set())
        if not mine:
            continue
        words = [gcov_of(cc), "--json-format", "--stdout", *mine]
        said = command.run(words, timeout_s=HOST.tool_s, cwd=directory).stdout
        for line in said.splitlines():
            for item in json.loads(line)["files"] if line.startswith("{") else ():
                name = next((one for one in wanted if str(item["file"]).endswith(one)), None)
                if name is not None:
                    lines |= {(name, number) for number in _reached(item["lines"])}
    for test in gone_on(directories):
        found.setdefault(test, set()).update(at_reboot)
    return {test: frozenset(lines) for test, lines in found.items()}


def _reached(counts: Sequence[Mapping[str, Any]]) -> Iterator[int]:
    """Yield the lines that were reached, of those that gcov has counted in a file."""
    counted: dict[int, bool] = {}
    for one in counts:
        number = int(one["line_number"])
        counted[number] = counted.get(number, False) or one["count"] > 0
    numbers = sorted(counted)
    for number, following in itertools.pairwise([*numbers, numbers[-1] + 1] if numbers else ()):
        if counted[number]:
            yield from range(number, following)


def read_test(directory: Path) -> str:
    """Return the test that ran while the counters of a directory counted; empty when none did."""
    path = directory / TEST_FILE
    return path.read_text() if path.exists() else ""


def gone_on(directories: Iterable[Path]) -> frozenset[str]:
    """Return the tests that have gone on to a second kernel, by kexec; it may have died of it.

    :param directories: as :func:`read_reach` has them; their names tell the kernel's number.
    """
    later = (
        each
        for each in directories
        if int(each.name.split("-")[1]) > 0 or (each / LEFT_FILE).exists()
    )
    return frozenset(filter(None, map(read_test, later)))


def _same(counters: str, source: str) -> bool:
    return counters.removesuffix(".gcda") == source.removesuffix(".c")


def reaching_tests(
    file: str, lines: Iterable[int], reach: Reach, seconds: Mapping[str, float], first: str = ""
) -> tuple[str, ...]:
    """Return the tests that reach one of *lines*, the shortest first.

    :param reach: a test that is not in it was not counted, and may reach any line.
    :param seconds: how long each test takes; one that is not in it is not asked.
    :param first: a regular expression for those that come before shorter ones; empty for none.
    """
    places = {(file, line) for line in lines}
    found = [test for test in seconds if test not in reach or places & reach[test]]

    def order(test: str) -> tuple[bool, float, str]:
        return not (first and re.search(first, test)), seconds[test], test

    return tuple(sorted(found, key=order))
