# SPDX-License-Identifier: GPL-2.0-only
"""Results of one run as tables: the summary at its end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from harness.base.text import duration, first_line, plural
from harness.report.sections import Sections, section_of
from harness.results.facts import FixFacts, KernelFacts, LeftOutFacts, SeriesFacts
from harness.results.results import BootResult, Outcome, RunResults, TestResult

_STYLE = {
    Outcome.PASSED: "green",
    Outcome.FAILED: "bold red",
    Outcome.CRASHED: "bold red",
    Outcome.ERROR: "bold magenta",
    Outcome.SKIPPED: "yellow",
}


def print_results(
    results: RunResults, console: Console, sections: Sections, *, directory: Path | None = None
) -> None:
    """Print the summary: what was applied, booted, tested, and the evidence.

    :param sections: the suite's own.
    :param directory: where logs and reports are, named in the last line; ``None`` leaves it out.
    """
    console.print(_facts(results))
    if results.series.patches:
        console.print(_patches(results))
    console.print(_tests(results))
    for key, items in results.extras.items():
        if items:
            console.print(section_of(key, sections).table(items))
    for title in sorted({t for test in results.tests for t in test.known_issues}):
        console.print(f"known issue seen: {title}", style="yellow", markup=False)
    if results.findings:
        console.print(findings_table(results.findings))
    console.print(_verdict(results))
    if directory is not None:
        console.print(f"report: {directory}", markup=False, soft_wrap=True)


def series_lines(series: SeriesFacts) -> list[str]:
    """Say of a series what is not plain: which mails were taken, and what the tree had before."""
    return reroll_lines(series.taken, series.left_out) + tree_lines(series)


def reroll_lines(taken: str | None, left_out: Iterable[LeftOutFacts]) -> list[str]:
    """Say which re-roll was taken and what was left out; nothing when there was one alone."""
    said = [f"left out: {each.what}: {each.why}" for each in left_out]
    combined = ";" in (taken or "")
    return [f"taken: {taken}", *said] if said or combined else []


def tree_lines(series: SeriesFacts) -> list[str]:
    """Say which patches the tree had before, how that is known, and what is not clear about it."""
    already = [(p.position, p.recognised) for p in series.patches if p.recognised is not None]
    if not already:
        return []
    numbers = ", ".join(str(number) for number, _ in already)
    if len(already) == len(series.patches):
        said = [f"the tree has all {len(already)} patches already: this is a regression check"]
    else:
        some = f"patch{'es' if len(already) > 1 else ''} {numbers}"
        said = [f"the tree has {some} of {series.total} already, passed over as 'git am --skip'"]
    for by in dict.fromkeys(how.by for _, how in already):
        own = [number for number, how in already if how.by == by]
        said.append(f"recognised by {by}: {', '.join(map(str, own))}")
    for number, how in already:
        if not how.same_change:
            commit = f"commit {how.name[:12]}" if how.name else "it"
            said.append(f"patch {number} is in with another change than the mail's: {commit}")
        if how.ambiguous:
            others = ", ".join(name[:12] for name in how.ambiguous)
            said.append(f"patch {number} may be {how.name[:12]}, which was taken, or {others}")
    return said


def lack_lines(kernel: KernelFacts, shown: Collection[str] = ()) -> list[str]:
    """Say which fixes that the suite knows a tree does not have, a line for each release.

    :param shown: the features whose bugs tests have shown, which is told.
    """
    return [
        f"fixes of {release} that this tree does not have: "
        + "; ".join(_lack(fix, shown) for fix in fixes)
        for release, fixes in kernel.lacks.items()
    ]


def machine_lines(boots: Sequence[BootResult], *, tests: bool) -> list[str]:
    """Say how many machines there were, and why some could not be shared any longer.

    :param tests: after which tests as well.
    """
    if not boots:
        return []
    why: dict[str, list[str]] = {}
    for boot in boots:
        if boot.replaced:
            why.setdefault(boot.replaced, []).append(boot.replaced_after)
    replaced = sum(map(len, why.values()))
    said = [f"{plural(len(boots), 'machine')}, {replaced} replaced" if replaced else ""]
    for reason, after in why.items():
        names = f", after {', '.join(filter(None, after))}" if tests and any(after) else ""
        said.append(f"{len(after)} replaced: {reason}{names}")
    return [line for line in said if line]


def _lack(fix: FixFacts, shown: Collection[str]) -> str:
    count = len(fix.missing)
    said = [f"{count} patch{'es' if count > 1 else ''}"] if count else []
    said += ["shown by a test"] if fix.feature in shown else []
    return f"{fix.bug} ({', '.join(said)})" if said else fix.bug


def _facts(results: RunResults) -> Panel:
    kernel, series, machine = results.kernel, results.series, results.machine
    grid = Table.grid(padding=(0, 2))
    grid.add_row("kernel", Text(f"Linux {kernel.version} ({kernel.label})"))
    if series.name is not None:
        grid.add_row(
            "series",
            Text(f"{series.title}\n{series.position} of {series.total} patches applied"),
        )
    for line in series_lines(series):
        grid.add_row("", Text(line, style="yellow"))
    for item in series.extra:
        grid.add_row("extra", Text(item.subject))
    for line in lack_lines(kernel, results.known_bugs) if series.name is None else ():
        grid.add_row("", Text(line, style="yellow"))
    new, count = kernel.new_warnings, kernel.warnings
    compared = "" if new is None else f", {len(new)} of them new" if count else ""
    grid.add_row(
        "build",
        Text(
            f"{kernel.release}, profile {results.profile}, "
            + ("from the cache" if kernel.cached else duration(kernel.build_seconds))
            + f", {count} warning{'' if count == 1 else 's'}{compared}"
        ),
    )
    if kernel.no_sandbox:
        grid.add_row("", Text(f"built in no sandbox: {kernel.no_sandbox}", style="yellow"))
    grid.add_row("compiler", Text(kernel.toolchain))
    grid.add_row(
        "machine",
        Text(f"QEMU {machine.qemu}, {results.accel} ({machine.accel_reason.partition(':')[0]})"),
    )
    for line in machine_lines(results.boots, tests=False):
        grid.add_row("", Text(line))
    return Panel(grid, title="under test", title_align="left")


def _patches(results: RunResults) -> Table:
    table = Table(title="patches", title_justify="left", box=None, pad_edge=False)
    table.add_column("#", justify="right")
    table.add_column("commit")
    table.add_column("subject", overflow="fold")
    table.add_column("")
    for item in results.series.support:
        state = "support" if item.applied else f"left out: {item.why_left_out}"
        table.add_row("", "", Text(item.subject), state, style="dim")
    for patch in results.series.patches:
        applied = patch.position <= results.series.position
        table.add_row(
            str(patch.position),
            patch.commit[:12] if applied else "",
            Text(patch.subject),
            "in the tree already" if patch.already else "applied" if applied else "not applied",
            style="" if applied else "dim",
        )
    return table


def _tests(results: RunResults) -> Table:
    table = Table(title="tests", title_justify="left", box=None, pad_edge=False)
    table.add_column("outcome")
    table.add_column("test", overflow="fold")
    table.add_column("seconds", justify="right")
    for test in results.tests:
        name = Text(test.id)
        if test.message:
            name.append(f"\n  {first_line(test.message)}", style="dim")
        said, style = test.outcome.value, _STYLE[test.outcome]
        if test.finding:
            said, style = "finding", "yellow"
        elif test.shows_bug:
            said, style = "known bug", "yellow"
        elif results.judge == "expected" and test.unexpected:
            said, style = f"{said}, unexpected", "bold red"
        elif results.judge == "expected" and test.outcome is not Outcome.PASSED:
            said, style = f"{said}, as stated", "green"
        table.add_row(Text(said, style=style), name, f"{test.seconds:.1f}")
    return table


def findings_table(findings: Sequence[TestResult]) -> Table:
    """Return the table of what tests found that ask for more than the series promises."""
    table = Table(
        title="findings: beyond what the series promises; they fail nothing without --strict",
        title_justify="left",
        box=None,
        pad_edge=False,
    )
    table.add_column("weight")
    table.add_column("test", overflow="fold")
    for test in findings:
        name = Text(f"{test.id}\n  {test.beyond}")
        name.append(f"\n  {test.message.partition(chr(10))[0][:160]}", style="dim")
        table.add_row(test.weight, name)
    return table


def _verdict(results: RunResults) -> Text:
    counts = Counter(test.outcome for test in results.tests if not (test.finding or test.shows_bug))
    said = ", ".join(f"{counts[o]} {o.value}" for o in Outcome if counts[o])
    if results.tests and not said:
        said = f"0 {Outcome.PASSED.value}"
    if results.judge == "expected":
        wrong = sum(test.unexpected for test in results.tests)
        said += f"; {wrong or 'none'} unexpected"
    if shown := sum(test.shows_bug for test in results.tests):
        said += f"; {shown} with {plural(len(results.known_bugs), 'known bug')}"
    if results.findings:
        said += f"; {len(results.findings)} found beyond the promise of the series"
    bad = any(test.is_bad(results.judge) for test in results.tests)
    style = "bold red" if bad else "bold magenta" if counts[Outcome.ERROR] else "bold green"
    return Text(f"{said or 'no tests ran'} in {duration(results.seconds)}", style=style)
