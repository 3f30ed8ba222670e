# SPDX-License-Identifier: GPL-2.0-only
"""How far things are, as people are told."""

from __future__ import annotations

import pytest

from harness.base.progress import Building, Count, Progress, Running
from harness.run.executor import ended_test

BUILDING = Building(commit="49d5bb642de1" + 28 * "0", profile="debug", localversion="-p11-debug")


@pytest.mark.parametrize(
    ("progress", "text"),
    [
        (Progress("unpacking linux.tar"), "unpacking linux.tar"),
        (Progress("image", "building"), "image: building"),
        (Progress(BUILDING, "selftests"), "building 49d5bb642de1 (debug-p11-debug): selftests"),
        (Progress(Running(release="7.0.13-p07")), "testing 7.0.13-p07"),
        (Progress("x", count=Count(done=3, total=20, unit="MiB")), "x: 3 of 20 MiB"),
        (Progress("x", count=Count(done=1234, unit="steps")), "x: 1,234 steps"),
        (Progress("x", "y", Count(done=40, total=100, unit="%")), "x: 40%, y"),
        (Progress("x", "y", left_s=236.0), "x: about 4 min left, y"),
    ],
)
def test_progress_is_told_in_a_line(progress: Progress, text: str) -> None:
    assert str(progress) == text


@pytest.mark.parametrize(
    ("line", "test", "done"),
    [
        ("tests/guest/test_boot.py::test_release PASSED       [  4%]", "test_release PASSED", 4),
        (
            "../x/test_a.py::test_b[one two] SUBPASSED(c) [100%]",
            "test_b[one two] SUBPASSED(c)",
            100,
        ),
    ],
)
def test_line_of_pytest_about_a_test_says_how_far_it_is(line: str, test: str, done: int) -> None:
    found = ended_test(line)
    assert found is not None
    text, count = found
    assert text.partition("::")[2] == test
    assert str(count) == f"{done}%"


@pytest.mark.parametrize(
    "line", ["collecting ... collected 9 items", "=== 9 passed in 7 s ===", ""]
)
def test_other_lines_of_pytest_say_nothing(line: str) -> None:
    assert ended_test(line) is None
