# SPDX-License-Identifier: GPL-2.0-only
"""Consoles that were damaged on their way: reading them never raises, and loses no report.

Damage is done to recorded consoles at random places, from seeds that are the tests' parameters.
"""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.base.text import plain
from harness.results.kernel_log import find_splats
from harness.results.ktap import parse_ktap

RECORDED = Path(__file__).resolve().parents[1] / "data" / "console"
SEEDS = range(6)

REPORTS = ("atomic", "bug", "kasan", "lockdep", "null", "oops-panic", "panic", "warn")
"""Recorded consoles of one crash each: what there is to find is found by its first line."""

QUIET = ("boot", "advice")


def recorded(name: str) -> str:
    return (RECORDED / f"{name}.log").read_text()


def somewhere(text: str, rng: random.Random, share: float) -> list[int]:
    """Return places in *text*, as many as its *share*, the last one first."""
    count = max(1, int(len(text) * share))
    return sorted((rng.randrange(len(text)) for _ in range(count)), reverse=True)


def lose(text: str, rng: random.Random) -> str:
    """Lose characters, as a serial line without flow control does."""
    for at in somewhere(text, rng, 0.004):
        text = text[:at] + text[at + rng.randint(1, 2) :]
    return text


def insert(what: Callable[[random.Random], str], share: float) -> Callable[..., str]:
    def damage(text: str, rng: random.Random) -> str:
        for at in somewhere(text, rng, share):
            text = text[:at] + what(rng) + text[at:]
        return text

    return damage


def flip(text: str, rng: random.Random) -> str:
    """Turn bits around, and read what came of it as a console does."""
    data = bytearray(text.encode())
    for at in somewhere(text, rng, 0.002):
        data[at] ^= 1 << rng.randrange(8)
    return bytes(data).decode("utf-8", errors="replace")


def interleave(text: str, rng: random.Random) -> str:
    """Have another processor print its lines in between."""
    lines = text.splitlines(keepends=True)
    for number in range(len(lines) // 4):
        noise = f"[   40.{number:06}] eth0: link {number} is up\n"
        lines.insert(rng.randrange(len(lines)), noise)
    return "".join(lines)


def unfinished(text: str, rng: random.Random) -> str:
    """Have lines begin behind what a program printed."""
    lines = text.splitlines(keepends=True)
    for at in range(len(lines)):
        if rng.random() < 0.2:
            lines[at] = "loading luo ... " + lines[at]
    return "".join(lines)


def crlf(text: str, rng: random.Random) -> str:
    return "".join(
        line + rng.choice(("\r\n", "\n", "\r\r\n")) for line in text.splitlines(keepends=False)
    )


ESCAPES = ("\x1b[31m", "\x1b[0m", "\x1b[2J", "\x1b]0;mine\x07", "\x1b(B", "\x9b1m", "\x1b[?25l")

DAMAGES: dict[str, Callable[[str, random.Random], str]] = {
    "lost characters": lose,
    "NUL": insert(lambda _: "\0", 0.01),
    "escapes": insert(lambda rng: rng.choice(ESCAPES), 0.01),
    "flipped bits": flip,
    "other lines": interleave,
    "unfinished lines": unfinished,
    "line ends": crlf,
}


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", DAMAGES)
def test_damaged_report_is_still_found(name: str, seed: int) -> None:
    rng = random.Random(f"{name} {seed}")  # noqa: S311 - it must be the same again
    for console in REPORTS:
        text = recorded(console)
        damaged = DAMAGES[name](text, rng)
        found = find_splats(damaged)
        whole = find_splats(text)
        assert len(found) >= len(whole), (console, [splat.title for splat in found])
        if name in ("NUL", "escapes", "line ends", "other lines", "unfinished lines"):
            assert [s.kind for s in found] == [s.kind for s in whole], console


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", DAMAGES)
def test_damaged_console_without_a_report_has_none(name: str, seed: int) -> None:
    rng = random.Random(f"{name} {seed}")  # noqa: S311 - it must be the same again
    for console in QUIET:
        damaged = DAMAGES[name](recorded(console), rng)
        assert find_splats(damaged) == (), console


@pytest.mark.parametrize("seed", SEEDS)
def test_reports_of_two_processors_at_once_are_both_found(seed: int) -> None:
    """Line by line, from kernels that do not say who prints."""
    rng = random.Random(seed)  # noqa: S311 - it must be the same again
    for one, other in itertools.permutations(("atomic", "bug", "kasan", "lockdep", "panic"), 2):
        lines = [recorded(name).splitlines(keepends=True)[::-1] for name in (one, other)]
        mixed: list[str] = []
        while lines[0] or lines[1]:
            source = rng.choice([rest for rest in lines if rest])
            mixed += [source.pop() for _ in range(rng.randint(1, 6)) if source]
        kinds = {splat.kind for splat in find_splats("".join(mixed))}
        wanted = {splat.kind for name in (one, other) for splat in find_splats(recorded(name))}
        assert wanted <= kinds, (one, other)


@pytest.mark.parametrize("seed", SEEDS)
def test_any_text_can_be_read(seed: int) -> None:
    """Pieces of everything in any order, with all of the damage above."""
    rng = random.Random(seed)  # noqa: S311 - it must be the same again
    logs = (path.read_text() for path in sorted(RECORDED.glob("*.log")))
    lines = [line for log in logs for line in log.splitlines(keepends=True)]
    text = "".join(rng.choices([*lines, "not ok 1 a\n", "    1..2\n", "Bail out!\n"], k=800))
    for damage in DAMAGES.values():
        text = damage(text, rng)
    for splat in find_splats(text):
        assert splat.text == plain(splat.text)
        assert splat.title == plain(splat.title)
        assert splat.title
    for result in parse_ktap(text):
        assert result.name == plain(result.name)


def test_line_without_an_end_takes_no_time() -> None:
    """Neither a line of a megabyte nor one that is all brackets is gone through again and again."""
    for line in ("BUG: " * 200_000, "[" * 1_000_000, "INFO: task " + " blocked" * 100_000):
        began = time.monotonic()
        find_splats(line)
        parse_ktap(line)
        assert time.monotonic() - began < 10
