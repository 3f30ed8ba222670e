# SPDX-License-Identifier: GPL-2.0-only
"""Which kernel hands over to which, drawn: a line a pair, a table, Markdown, and for the page."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.base.errors import ExitCode
from harness.base.text import duration
from harness.results.compat import CompatResults, Fate, PairResult

_STYLE = {
    Fate.CARRIED: "green",
    Fate.REFUSED: "yellow",
    Fate.NO_VERDICT: "bold magenta",
    Fate.LOST: "bold red",
    Fate.CRASHED: "bold red",
}
_KIND = {
    Fate.CARRIED: ("ok", "\u2713"),
    Fate.REFUSED: ("stated", "\u2717"),
    Fate.NO_VERDICT: ("error", "?"),
    Fate.LOST: ("bad", "\u2717"),
    Fate.CRASHED: ("bad", "\u2717"),
}


def pair_line(pair: PairResult) -> Text:
    """Return the line that says what a pair came to."""
    line = Text(f"{pair.source} -> {pair.target}: ")
    line.append(_said(pair), style=_STYLE[pair.fate])
    if pair.message:
        line.append(f", {pair.message}")
    took = "cached" if pair.cached else duration(pair.seconds)
    line.append(f"  {took}", style="dim")
    return line


def _said(pair: PairResult) -> str:
    """Return the fate, with what was stated where that is another one."""
    if not pair.unexpected:
        return pair.fate.value
    if pair.stated is None:
        return f"{pair.fate.value}, unexpected"
    return f"{pair.fate.value}, stated: {pair.stated.value}"


def print_table(results: CompatResults, console: Console) -> None:
    """Print which kernel hands over to which, and what nobody expected."""
    table = Table(box=None, pad_edge=False)
    table.add_column("from \\ to")
    for target in results.targets:
        table.add_column(target, overflow="fold")
    for source in results.sources:
        row = [results.pair(source, target) for target in results.targets]
        table.add_row(Text(source), *map(_cell, row))
    console.print(table)
    for pair in results.pairs:
        if pair.unexpected:
            for line in _unexpected(pair):
                console.print(line, markup=False, soft_wrap=True)
    bad = results.exit_code is not ExitCode.PASSED
    console.print(Text(results.summary, style="bold red" if bad else "bold green"))


def _cell(pair: PairResult | None) -> Text:
    if pair is None:
        return Text("-", style="dim")
    return Text(pair.fate.value + "!" * pair.unexpected, style=_STYLE[pair.fate])


def _unexpected(pair: PairResult) -> Iterator[str]:
    yield f"  {pair.source} -> {pair.target}: {_said(pair)}"
    for test in pair.tests:
        if test.fate not in pair.allowed:
            yield f"      {test.id}: {test.fate.value}, {test.message or 'everything was there'}"
    if not pair.tests:
        yield f"      {pair.message}"
    yield f"      log: {pair.directory}"
    yield f"      run: {pair.reproduce}"


# -- the documentation's table ---------------------------------------------------------------


def to_markdown(results: CompatResults, intro: str) -> str:
    """Return the table for the documentation.

    :param intro: what was run, one line.
    """
    lines = [
        "# Which kernel hands over to which",
        "",
        "Made by `harness compat --markdown docs/compat.md`; do not edit.",
        "",
        intro,
        "",
        f"| from \\ to | {' | '.join(results.targets)} |",
        f"| --- |{' --- |' * len(results.targets)}",
    ]
    for source in results.sources:
        row = [results.pair(source, target) for target in results.targets]
        fates = (pair.fate.value if pair is not None else "-" for pair in row)
        lines.append(f"| {source} | {' | '.join(fates)} |")
    lines += [
        "",
        *(f"- {name}: `{release}`" for name, release in results.releases.items()),
        "",
        "*carried*: every test of two kernels found what was handed over, its content proven.",
        "*refused*: the next kernel boots, takes nothing over, and says so. *lost*: something is",
        "missing or another, and no kernel says so. *crashed*: a kernel died, or printed a splat.",
        "",
        "## What was said",
        "",
        "| from | to | fate | tests | message of the first |",
        "| --- | --- | --- | --- | --- |",
    ]
    for pair in results.pairs:
        for fate in Fate:
            own = [test for test in pair.tests if test.fate is fate]
            if own and fate is not Fate.CARRIED:
                count = f"{len(own)} of {len(pair.tests)}"
                said = own[0].message.replace("|", "\\|")
                cells = (pair.source, pair.target, fate.value, count, said)
                lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


# -- for the page ----------------------------------------------------------------------------


def page_of(results: CompatResults) -> dict[str, Any]:
    """Return what the page shows of it."""
    return {
        "targets": results.targets,
        "rows": [
            (source, [_mark(results.pair(source, target)) for target in results.targets])
            for source in results.sources
        ],
        "pairs": [
            {
                "pair": pair,
                "mark": _mark(pair),
                "said": _said(pair),
                "tests": [test for test in pair.tests if test.fate is not Fate.CARRIED],
            }
            for pair in results.pairs
            if pair.fate is not Fate.CARRIED or pair.unexpected
        ],
        "said": results.summary,
        "wrong": sum(
            pair.unexpected and pair.fate is not Fate.NO_VERDICT for pair in results.pairs
        ),
        "unknown": sum(pair.fate is Fate.NO_VERDICT for pair in results.pairs),
    }


def _mark(pair: PairResult | None) -> dict[str, str]:
    if pair is None:
        return {"kind": "skip", "symbol": "", "word": "not tried"}
    kind, symbol = _KIND[pair.fate]
    if pair.unexpected and pair.fate is not Fate.NO_VERDICT:
        kind, symbol = "bad", f"{symbol}!"
    return {"kind": kind, "symbol": symbol, "word": pair.fate.value}
