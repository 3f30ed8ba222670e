# SPDX-License-Identifier: GPL-2.0-only
from __future__ import annotations

import pytest

from harness.base.text import duration, first_line, plain, plural


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "0 s"),
        (0.34, "0.3 s"),
        (2.5, "2.5 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (125, "2 min 05 s"),
        (3599.7, "1 h 00 min"),
        (3725, "1 h 02 min"),
        (7170, "2 h 00 min"),
    ],
)
def test_duration(seconds: float, said: str) -> None:
    assert duration(seconds) == said


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", ""),
        ("\n \n", ""),
        ("\n  why \n at length", "why"),
        ("x" * 10, "x" * 10),
        ("x" * 11, "xxxxxxx..."),
    ],
)
def test_first_line(text: str, line: str) -> None:
    assert first_line(text, 10) == line
    assert first_line("x" * 1000, None) == "x" * 1000


def test_plural() -> None:
    assert [plural(n, "test") for n in (0, 1, 2)] == ["0 tests", "1 test", "2 tests"]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("plain text\n\twith a tab", "plain text\n\twith a tab"),
        ("\x1b[31;1mred\x1b[0m", "red"),
        ("\x1b[2J\x1b[Hcleared", "cleared"),
        ("\x1b]0;title\x07a\x1b]52;c;YQ==\x1b\\b", "ab"),
        ("\x1b]0;no end", "0;no end"),
        ("\x9b31mred", "red"),
        ("a\x00b\x08c\x7fd\x85e", "abcde"),
        ("\x1b", ""),
        ("right\u202eleft", "rightleft"),
        ("BUG: K\x1b[1mASAN", "BUG: KASAN"),
    ],
)
def test_plain_text_moves_no_terminal(text: str, wanted: str) -> None:
    assert plain(text) == wanted
