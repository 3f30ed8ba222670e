# SPDX-License-Identifier: GPL-2.0-only
"""Live updates in the tables and on the page of a report."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import jinja2
from markupsafe import Markup
from rich.table import Table
from rich.text import Text

from harness.liveupdate.results import STAGES, UpdateResult, update_of
from harness.report.sections import Item, Section, Shown

_WIDTH = 1000


@dataclass(frozen=True, slots=True)
class Bar:
    """A stage of a live update on the scale of its page."""

    name: str
    seconds: float
    x: int
    width: int


@dataclass(frozen=True, slots=True)
class Update:
    """A live update, with its stages."""

    test: str
    number: int
    preserved: int
    verified: str
    kept: bool
    releases: str
    total: float
    bars: tuple[Bar, ...]

    @property
    def seconds(self) -> dict[str, float]:
        """Stage -> seconds."""
        return {bar.name: bar.seconds for bar in self.bars}


@dataclass(frozen=True, slots=True)
class Timeline:
    """The live updates of a kernel.

    :param middle: an update whose stages are the medians of all.
    :param shortest: the shortest blackout, in seconds.
    :param longest: the longest.
    """

    label: str
    middle: Update
    shortest: float
    longest: float
    updates: tuple[Update, ...]


def scale_of(updates: Sequence[UpdateResult]) -> tuple[float, tuple[tuple[str, float], ...]]:
    """Return how many seconds are drawn, and the marks of the axis with their places."""
    longest = max((sum(update.stages.values()) for update in updates), default=0.0)
    step = next((s for s in (0.5, 1, 2, 5, 10, 20, 50, 100) if longest / s <= 6), 200)
    marks = [n * step for n in range(int(longest / step) + 1)]
    return longest, tuple((f"{mark:g} s", round(_WIDTH * mark / (longest or 1))) for mark in marks)


def timeline_of(label: str, updates: Sequence[UpdateResult], longest: float) -> Timeline:
    """Return the live updates of a kernel on a scale of *longest* seconds."""
    middle = {
        stage: statistics.median(u.stages.get(stage, 0.0) for u in updates) for stage in STAGES
    }
    blackouts = [update.stages.get("blackout", 0.0) for update in updates]
    return Timeline(
        label=label,
        middle=_drawn(None, middle, longest),
        shortest=min(blackouts),
        longest=max(blackouts),
        updates=tuple(_drawn(update, update.stages, longest) for update in updates),
    )


def _drawn(update: UpdateResult | None, stages: Mapping[str, float], longest: float) -> Update:
    at, bars = 0.0, []
    for name in STAGES:
        seconds = stages.get(name, 0.0)
        x, end = (round(_WIDTH * value / (longest or 1)) for value in (at, at + seconds))
        bars.append(Bar(name, seconds, x, max(end - x, 2 if seconds else 0)))
        at += seconds
    releases = (update.from_release, update.to_release) if update is not None else ()
    return Update(
        test=update.test.rpartition("/")[2] if update is not None else "",
        number=update.number if update is not None else 0,
        preserved=update.preserved if update is not None else 0,
        verified=update.comparison if update is not None else "",
        kept=update is not None and update.kept,
        releases=" \u2192 ".join(dict.fromkeys(releases)),
        total=at,
        bars=tuple(bars),
    )


def _distinct(items: Sequence[Item]) -> list[UpdateResult]:
    """Return the live updates; one that a test went on from many times, in clones, is told once."""
    updates = [update_of(item) for item in items]
    found = {(u.test, u.from_boot_id, u.to_boot_id, u.comparison): u for u in updates}
    return list(found.values())


def page(shown: Sequence[Shown]) -> Markup:
    """Return the picture of all live updates, all kernels on one scale."""
    kernels = [(each.label, _distinct(each.items)) for each in shown]
    longest, axis = scale_of([update for _, updates in kernels for update in updates])
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("harness.liveupdate", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return Markup(  # noqa: S704 - made by a template that escapes
        environment.get_template("section.j2").render(
            timelines=[timeline_of(label, updates, longest) for label, updates in kernels],
            stages=STAGES,
            axis=axis,
        )
    )


def table(items: Sequence[Item]) -> Table:
    """Return the table of the live updates of one run."""
    made = Table(
        title="live updates (same QEMU process, new boot id; one kernel named: to the same build)",
        title_justify="left",
        box=None,
        pad_edge=False,
    )
    for name, justify in (
        ("test", "left"),
        ("kernels", "left"),
        ("boot id", "left"),
        ("no.", "right"),
        ("verified", "right"),
        ("blackout", "right"),
    ):
        made.add_column(name, justify=justify, overflow="fold")  # type: ignore[arg-type]
    for update in _distinct(items):
        releases = dict.fromkeys((update.from_release, update.to_release))
        made.add_row(
            Text(update.test.rpartition("::")[2].rpartition("/")[2]),
            " -> ".join(releases),
            f"{update.from_boot_id[:8]} -> {update.to_boot_id[:8]}",
            str(update.number),
            update.comparison,
            f"{update.stages.get('blackout', 0.0):.2f} s",
        )
    return made


SECTION = Section(
    title="live updates",
    table=table,
    page=page,
    style=Path(__file__).with_name("section.css").read_text(),
)
"""Named by the suite, for what is under the key ``live_updates``."""
