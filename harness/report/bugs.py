# SPDX-License-Identifier: GPL-2.0-only
"""Which kernel has which known bug, drawn: a line a kernel, a table, Markdown, and for the page."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.base.errors import ExitCode
from harness.base.text import duration
from harness.results.bugs import BugResult, BugsResults, State

_STYLE = {
    State.SHOWN: "yellow",
    State.FIXED: "green",
    State.NOT_SHOWN: "yellow",
    State.NOT_TRIED: "dim",
    State.NO_VERDICT: "bold magenta",
    State.WRONG: "bold red",
}
_KIND = {
    State.SHOWN: ("stated", "\u2717"),
    State.FIXED: ("ok", "\u2713"),
    State.NOT_SHOWN: ("stated", "\u2212"),
    State.NOT_TRIED: ("skip", "\u2212"),
    State.NO_VERDICT: ("error", "?"),
    State.WRONG: ("bad", "\u2717!"),
}


def kernel_line(results: BugsResults, name: str) -> Text:
    """Return the line that says how many bugs of a kernel came to what."""
    kernel = next(kernel for kernel in results.kernels if kernel.kernel == name)
    own = [result for result in results.results if result.kernel == name]
    counts = {state: sum(result.state is state for result in own) for state in State}
    line = Text(f"{name}: ")
    told = [(state, count) for state, count in counts.items() if count]
    for number, (state, count) in enumerate(told):
        line.append(", " if number else "")
        line.append(f"{count} {state.value}", style=_STYLE[state])
    took = "cached" if kernel.cached else duration(kernel.seconds)
    line.append(f"  {took}", style="dim")
    return line


def print_table(results: BugsResults, console: Console) -> None:
    """Print which kernel has which bug, and what is to be looked at."""
    table = Table(box=None, pad_edge=False)
    table.add_column("fixed in")
    table.add_column("bug", overflow="fold")
    for kernel in results.kernels:
        table.add_column(kernel.kernel, overflow="fold")
    for bug in results.bugs:
        states = [results.result(bug.feature, kernel.kernel).state for kernel in results.kernels]
        cells = (Text(state.value, style=_STYLE[state]) for state in states)
        table.add_row(Text(bug.fixed_in), Text(bug.what), *cells)
    console.print(table)
    for line in _wrong(results):
        console.print(line, markup=False, soft_wrap=True)
    bad = results.exit_code is not ExitCode.PASSED
    console.print(Text(results.summary, style="bold red" if bad else "bold green"))


def _wrong(results: BugsResults) -> Iterator[str]:
    for kernel in results.kernels:
        own = [
            result
            for result in results.results
            if result.kernel == kernel.kernel and result.state in (State.WRONG, State.NO_VERDICT)
        ]
        for result in own:
            yield f"  {kernel.kernel}, {result.feature}: {result.state.value}, {result.message}"
            for test, outcome in result.tests.items():
                yield f"      {test}: {outcome.value}"
        if own:
            yield f"      log: {kernel.directory}"
            yield f"      run: {kernel.reproduce}"


# -- the documentation's table ---------------------------------------------------------------


def to_markdown(results: BugsResults, intro: str) -> str:
    """Return the table for the documentation.

    :param intro: what was run, one line.
    """
    names = [kernel.kernel for kernel in results.kernels]
    lines = [
        "# Which kernel has which bug",
        "",
        "Made by `harness bugs --markdown docs/bugs.md`; do not edit.",
        "",
        intro,
        "",
        f"| bug | fixed in | {' | '.join(names)} |",
        f"| --- | --- |{' --- |' * len(names)}",
    ]
    for bug in results.bugs:
        states = (results.result(bug.feature, name).state.value for name in names)
        lines.append(f"| {bug.what} | {bug.fixed_in} | {' | '.join(states)} |")
    lines += [
        "",
        *(f"- {kernel.kernel}: `{kernel.release}`" for kernel in results.kernels),
        "",
        "*shown*: the fix is missing, and a test fails of it. *fixed*: the fix is there, and the",
        "test passes. *not shown*: the fix is missing, and no test shows the bug, or one that",
        "needs luck had none. *fixed, not tried*: the source has the fix, and no test is about it.",
        "",
        "## What was said",
        "",
        "| bug | kernel | test | message |",
        "| --- | --- | --- | --- |",
    ]
    for bug in results.bugs:
        for result in (results.result(bug.feature, name) for name in names):
            if result.message:
                tests = ", ".join(f"`{test}`" for test in result.tests) or "-"
                said = result.message.replace("|", "\\|")
                lines.append(f"| {bug.what} | {result.kernel} | {tests} | {said} |")
    return "\n".join(lines) + "\n"


# -- for the page ----------------------------------------------------------------------------


def page_of_bugs(results: BugsResults) -> dict[str, Any]:
    """Return what the page shows of it."""
    states = [result.state for result in results.results]
    return {
        "kernels": [kernel.kernel for kernel in results.kernels],
        "rows": [
            (bug, [_mark(results.result(bug.feature, k.kernel)) for k in results.kernels])
            for bug in results.bugs
        ],
        "said": results.summary,
        "told": [result for result in results.results if result.message],
        "wrong": states.count(State.WRONG),
        "unknown": states.count(State.NO_VERDICT),
    }


def _mark(result: BugResult) -> dict[str, str]:
    kind, symbol = _KIND[result.state]
    return {"kind": kind, "symbol": symbol, "word": result.state.value}
