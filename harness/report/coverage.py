# SPDX-License-Identifier: GPL-2.0-only
"""Coverage drawn: the table of files, what was not reached, and the record."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.results.records import CoverageRecord, FileRecord
from harness.search.coverage import percent


def print_coverage(files: Sequence[FileRecord], console: Console) -> None:
    """Print the table of files and the list of what was not reached."""
    table = Table(box=None, pad_edge=False)
    table.add_column("file")
    for name in ("lines", "reached", "percent"):
        table.add_column(name, justify="right")
    for file in files:
        table.add_row(Text(file.file), str(file.lines), str(file.reached), f"{percent([file]):.1f}")
    table.add_row(
        "all",
        str(sum(file.lines for file in files)),
        str(sum(file.reached for file in files)),
        f"{percent(files):.1f}",
        style="bold",
    )
    console.print(table)
    gaps = Table(title="not reached", title_justify="left", box=None, pad_edge=False)
    for name in ("lines", "function", "code", "reason"):
        gaps.add_column(name, overflow="fold")
    for file in files:
        for gap in file.gaps:
            where = f"{Path(file.file).name}:{gap.first}"
            where += f"-{gap.last}" if gap.last != gap.first else ""
            gaps.add_row(Text(where), Text(gap.function), Text(gap.text), Text(gap.reason or "?"))
    if gaps.row_count:
        console.print(gaps)


def record_of(files: Sequence[FileRecord], html: Path) -> CoverageRecord:
    """Return what is written of coverage.

    :param html: gcovr's page.
    """
    return CoverageRecord(percent=round(percent(files), 2), html=str(html), files=tuple(files))
