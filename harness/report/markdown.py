# SPDX-License-Identifier: GPL-2.0-only
"""Results as Markdown: the summary that a CI service shows beside a job."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from harness.base.text import first_line, plural
from harness.report.problems import about, first_seen, where
from harness.results.compat import PairResult
from harness.results.complaint import problems_of
from harness.results.evidence import Evidence, Kernel
from harness.results.records import CellStatus
from harness.results.results import Outcome

MAX_WRONG = 50
"""Causes that are named one by one; a job's summary may hold 1 MiB."""

_WIDTH = 300
"""Characters of a line that comes out of a kernel or a test."""


def to_markdown(found: Sequence[Evidence]) -> str:
    """Return what the results in *found* come to."""
    kernels = [kernel for item in found for kernel in item.kernels]
    pairs = [pair for item in found for pair in item.pairs]
    wrong = sum(len(kernel.wrong) for kernel in kernels) + sum(pair.unexpected for pair in pairs)
    tests = sum(len(kernel.tests) for kernel in kernels)
    said = f"{plural(wrong, 'thing')} to look at" if wrong else "all as it should be"
    counts = f"kernels: {len(kernels)}, tests: {tests}" if kernels or not pairs else ""
    lines = [f"## {said}", "", counts, ""] if counts else [f"## {said}", ""]
    for item in found:
        if item.text is not None:
            lines += ["```", *item.text.replace("```", "'''").rstrip().splitlines(), "```", ""]
    if kernels:
        lines += [*_table(kernels), ""]
    if pairs:
        lines += [*_pairs(pairs), ""]
    if any(kernel.wrong for kernel in kernels):
        lines += [*_list(kernels), ""]
    if any(kernel.findings for kernel in kernels):
        lines += [*_findings(kernels), ""]
    return "\n".join(lines)


def _table(kernels: Sequence[Kernel]) -> Iterator[str]:
    yield "| position | profile | tests ran | passed | as stated | to look at | patch |"
    yield "| ---: | --- | --- | ---: | ---: | ---: | --- |"
    for kernel in sorted(kernels, key=lambda k: (k.profile, k.position)):
        passed = sum(t.outcome is Outcome.PASSED and not t.unexpected for t in kernel.tests)
        others = passed + len(kernel.wrong) + len(kernel.findings)
        stated = max(0, len(kernel.tests) - others)
        ran = "yes" if kernel.status is CellStatus.TESTED else f"{kernel.status}: {kernel.message}"
        cells = (kernel.position, kernel.profile, ran, passed, stated, len(kernel.wrong))
        yield "| " + " | ".join(_plain(str(c)) for c in (*cells, kernel.subject)) + " |"


def _pairs(pairs: Sequence[PairResult]) -> Iterator[str]:
    yield "| from | to | came to | stated | what was said |"
    yield "| --- | --- | --- | --- | --- |"
    for pair in pairs:
        stated = " or ".join(fate.value for fate in pair.allowed)
        fate = f"**{pair.fate.value}**" if pair.unexpected else pair.fate.value
        cells = (_plain(pair.source), _plain(pair.target), fate, stated, _plain(pair.message))
        yield f"| {' | '.join(cells)} |"


def _list(kernels: Sequence[Kernel]) -> Iterator[str]:
    yield "### To look at"
    yield ""
    subjects = {kernel.position: kernel.subject for kernel in kernels}
    problems = problems_of(item for kernel in kernels for item in kernel.wrong)
    for problem in problems[:MAX_WRONG]:
        item = problem.first
        said = (
            f"{about(problem)}: {item.outcome}, stated: {item.expected}: {first_line(item.message)}"
        )
        yield f"- {_plain(f'{where(problem)}: {said}')}"
        if seen := first_seen(problem, subjects):
            yield f"  <br>{_plain(seen)}"
        if item.reproduce:
            yield f"  <br>`{item.reproduce.replace('`', chr(39))}`"
    if len(problems) > MAX_WRONG:
        yield f"- and {len(problems) - MAX_WRONG} more"


def _findings(kernels: Sequence[Kernel]) -> Iterator[str]:
    yield "### Findings, beyond what the series promises"
    yield ""
    items = [(kernel, test) for kernel in kernels for test in kernel.findings]
    for kernel, test in items[:MAX_WRONG]:
        said = f"{test.id} ({test.weight}): {test.message.partition(chr(10))[0]}"
        yield f"- position {kernel.position}, {_plain(kernel.profile)}: {_plain(said)}"
        yield f"  <br>{_plain(test.beyond)}"
    if len(items) > MAX_WRONG:
        yield f"- and {len(items) - MAX_WRONG} more"


def _plain(text: str) -> str:
    """Return *text* as one line that Markdown and HTML leave alone."""
    line = " ".join(text.split())
    if len(line) > _WIDTH:
        line = f"{line[:_WIDTH]} ..."
    return re.sub(r"([\\`*_{}\[\]<>()#+!|~&@])", r"\\\1", line)
