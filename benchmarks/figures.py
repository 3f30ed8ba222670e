# SPDX-License-Identifier: GPL-2.0-only
"""What was measured: figures, their ratios and targets, as JSON, as a table, as Markdown.

A figure is wall clock time on the host, or memory.  Hosts are noisy, so that one is only worth
something beside others of the same run: what is compared is measured in turns, and a ratio is
taken of each turn.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from harness.base.errors import InputError
from harness.base.text import first_line

BEGIN, END = "<!-- figures -->", "<!-- end of figures -->"
"""Between these lines a document holds the tables that :func:`write_tables` makes."""


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a figure is.

    :param unit: ``s``, ``MiB``, ``left`` (things that were left behind), or ``x`` of a ratio.
    :param target: what the median must not exceed, or with *least* fall below; ``None`` for none.
    """

    unit: str
    text: str
    target: float | None = None
    least: bool = False

    def met(self, median: float) -> bool | None:
        """Return whether a median is on target; ``None`` without one."""
        if self.target is None:
            return None
        return median >= self.target if self.least else median <= self.target

    @property
    def bound(self) -> str:
        """The target as people read it."""
        if self.target is None:
            return ""
        return f"{'>=' if self.least else '<='} {self.target:g}"


MEANINGS = {
    "boot_to_ssh": Meaning("s", "QEMU's start to the first answer over SSH"),
    "boot_cold": Meaning("s", "the same, with kernel, initrd and QEMU dropped from the page cache"),
    "boot_virtme_kernel": Meaning("s", "the same as `boot_to_ssh`, of the kernel for virtme-ng"),
    "virtme_ng_boot": Meaning("s", "`vng --run` of that kernel to what its first command prints"),
    "clone_to_ssh": Meaning("s", "a clone of a template to its first answer over SSH", 0.35),
    "ssh_command": Meaning("s", "`true` over a connection that is there"),
    "clones_at_once": Meaning("s", "8 clones started together until all have answered"),
    "clone_memory": Meaning("MiB", "what each of those 8 holds that no other process shares"),
    "liveupdate_roundtrip": Meaning("s", "preserve to verified, a memfd of 1 MiB", 3.0),
    "blackout": Meaning("s", "in it: last answer of one kernel to the first of the next"),
    "clone_to_verified": Meaning("s", "from nothing: cloning, and the round trip"),
    "vmtest": Meaning("s", "QEMU under the kernel's kho/vmtest.sh: boot, kexec, restored"),
    "vmtest_whole": Meaning("s", "all of vmtest.sh, its kernel built before"),
    "luo_vmtest": Meaning("s", "QEMU under the kernel's liveupdate/vmtest.sh, its four tests"),
    "luo_vmtest_whole": Meaning("s", "all of its four runs, its kernel built before"),
    "selftests": Meaning("s", "`harness run` of the same four programs, everything built before"),
    "incremental_build": Meaning("s", "kernel and module after a line in the orchestrator"),
    "one_line_verdict": Meaning("s", "a line changed in patch 7: all guest tests at the end", 90.0),
    "matrix": Meaning("s", "`harness matrix --profile default --fresh`, kernels built", 360.0),
    "matrix_cached": Meaning("s", "the same matrix once more, nothing changed", 15.0),
    "soak_clones": Meaning("left", "processes, files, descriptors after each of many clones", 0.0),
    "soak_updates": Meaning("left", "the same after each of many live updates in a row", 0.0),
}
"""Everything that can be measured, in the order of the tables."""


@dataclass(frozen=True, slots=True)
class Ratio:
    """How many times as long *slow* takes as *fast*."""

    slow: str
    fast: str
    meaning: Meaning


RATIOS = {
    "clone_vs_boot": Ratio(
        "boot_to_ssh", "clone_to_ssh", Meaning("x", "a boot : a clone", 6.0, least=True)
    ),
    "clone_vs_virtme_ng": Ratio(
        "virtme_ng_boot", "clone_to_ssh", Meaning("x", "virtme-ng : a clone", 6.0, least=True)
    ),
    "boot_vs_virtme_ng": Ratio(
        "virtme_ng_boot",
        "boot_virtme_kernel",
        Meaning("x", "virtme-ng : a boot, of the same kernel", 1.0, least=True),
    ),
    "update_vs_vmtest": Ratio(
        "vmtest", "clone_to_verified", Meaning("x", "vmtest.sh's QEMU : clone and round trip")
    ),
    "roundtrip_vs_vmtest": Ratio(
        "vmtest", "liveupdate_roundtrip", Meaning("x", "vmtest.sh's QEMU : a round trip")
    ),
    "selftests_vs_vmtest": Ratio(
        "luo_vmtest_whole",
        "selftests",
        Meaning("x", "liveupdate/vmtest.sh, four runs : `harness run` of the same"),
    ),
}


def meaning_of(name: str) -> Meaning:
    """Return what a figure or ratio of that name is."""
    return RATIOS[name].meaning if name in RATIOS else MEANINGS[name]


@dataclass(frozen=True, slots=True)
class Figure:
    """What was measured, over its runs.

    :param values: none when it could not be measured.
    :param error: why it was not measured, or not as often as was asked; ``None`` if it was.
    """

    name: str
    values: tuple[float, ...]
    error: str | None = None

    @property
    def median(self) -> float:
        """The median of the runs."""
        return statistics.median(self.values)

    @property
    def met(self) -> bool | None:
        """Whether it is on target; ``None`` without a target, or without a value."""
        return meaning_of(self.name).met(self.median) if self.values else None

    def as_json(self) -> dict[str, Any]:
        """Return the documented form (``docs/performance.md``)."""
        meaning = meaning_of(self.name)
        found: dict[str, Any] = {
            "min": round(min(self.values), 4) if self.values else None,
            "median": round(self.median, 4) if self.values else None,
            "max": round(max(self.values), 4) if self.values else None,
            "unit": meaning.unit,
            "runs": len(self.values),
        }
        if meaning.target is not None:
            found |= {"target": meaning.bound, "met": self.met}
        if self.error is not None:
            found["error"] = self.error
        return found


def ratios(figures: Iterable[Figure]) -> list[Figure]:
    """Return the ratios that can be had of *figures*, run by run."""
    values = {figure.name: figure.values for figure in figures}
    found = []
    for name, ratio in RATIOS.items():
        pairs = zip(values.get(ratio.slow, ()), values.get(ratio.fast, ()), strict=False)
        taken = tuple(slow / fast for slow, fast in pairs)
        if taken:
            found.append(Figure(name, taken))
    return found


def to_json(figures: Iterable[Figure]) -> dict[str, dict[str, Any]]:
    """Return name -> the documented form."""
    return {figure.name: figure.as_json() for figure in figures}


# -- for people ----------------------------------------------------------------------------

_HEAD = ("figure", "min", "median", "max", "unit", "runs", "target")


def figure_table(figures: Sequence[Figure]) -> Table:
    """Return figures as people read them, what was not measured last."""
    table = Table(box=None, pad_edge=False)
    for name in _HEAD:
        numbers = name in ("min", "median", "max", "runs")
        table.add_column(name, justify="right" if numbers else "left")
    for figure in figures:
        if figure.values:
            style = "bold red" if figure.met is False else ""
            table.add_row(*(Text(word, style=style) for word in _words(figure)))
    for figure in figures:
        if figure.error is not None:
            said = first_line(figure.error)
            table.add_row(figure.name, "-", Text("no", style="yellow"), "-", "", "", Text(said))
    return table


def _words(figure: Figure) -> tuple[str, ...]:
    meaning = meaning_of(figure.name)
    values = (_number(value) for value in (min(figure.values), figure.median, max(figure.values)))
    return (figure.name, *values, meaning.unit, str(len(figure.values)), _verdict(figure))


def _number(value: float) -> str:
    return f"{value:.3f}" if value < 10 else f"{value:.1f}"


def _verdict(figure: Figure) -> str:
    met, bound = figure.met, meaning_of(figure.name).bound
    return "" if met is None else f"{bound}: {'met' if met else 'missed'}"


def to_markdown(figures: Sequence[Figure], title: str) -> str:
    """Return the tables of the documentation."""
    lines = [title, ""]
    own = [figure for figure in figures if figure.name in MEANINGS]
    for heading, group in (("figure", own), ("ratio", [f for f in figures if f not in own])):
        if not group:
            continue
        lines += [
            f"| {heading} | what it is | min | median | max | unit | runs | target |",
            "| --- | --- | ---: | ---: | ---: | --- | ---: | --- |",
        ]
        for figure in group:
            if figure.values:
                name, low, median, high, unit, runs, verdict = _words(figure)
                cells = (low, f"**{median}**", high, unit, runs, verdict)
            else:
                name, cells = figure.name, ("", "", "", "", "0", f"not measured: {figure.error}")
            text = meaning_of(name).text
            lines.append(f"| `{name}` | {text} | {' | '.join(cells)} |".replace("  ", " "))
        lines.append("")
    return "\n".join(lines)


def write_tables(document: Path, figures: Sequence[Figure], title: str) -> None:
    """Put the tables into *document*, between the lines :data:`BEGIN` and :data:`END`.

    :raises InputError: when it cannot be read or written, or has no such lines.
    """
    replace_block(document, BEGIN, END, to_markdown(figures, title))


def replace_block(document: Path, begin: str, end: str, block: str) -> None:
    """Put a text into *document*, between two lines.

    :raises InputError: when it cannot be read or written, or has no such lines.
    """
    try:
        text = document.read_text()
        before, begun, rest = text.partition(begin)
        _, ended, after = rest.partition(end)
        if not begun or not ended:
            raise InputError(f"{document} has no place for tables", hint=f"{begin} and {end}")
        document.write_text(f"{before}{begin}\n{block}{end}{after}")
    except OSError as error:
        raise InputError(f"cannot write {document}: {error.strerror}") from error
