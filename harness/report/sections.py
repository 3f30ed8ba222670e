# SPDX-License-Identifier: GPL-2.0-only
"""What a suite adds to the results, the tables and the page.

A suite's tests may enter items of their own into the results (:meth:`Session.add
<harness.plugin.session.Session.add>`): plain data under a key.  A :class:`Section` says how they
are shown; it is found by an entry point of the group ``harness.sections`` that has the key's name.
Items that nobody knows how to show are shown as a plain table.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Any

from markupsafe import Markup
from rich.table import Table
from rich.text import Text

Item = Mapping[str, Any]
"""What a test entered, as JSON can hold it."""


@dataclass(frozen=True, slots=True)
class Shown:
    """The items of one kernel.

    :param label: which kernel, as the page names it; empty when there is only one.
    """

    label: str
    items: Sequence[Item]


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """How the items under one key are shown.

    :param title: what they are called, in the plural.
    :param table: makes the table for a terminal.
    :param page: makes what stands below the heading on the page: HTML without scripts and without
        ``style`` attributes.
    :param style: CSS that *page* needs.
    """

    title: str
    table: Callable[[Sequence[Item]], Table]
    page: Callable[[Sequence[Shown]], Markup]
    style: str = ""


def section_of(key: str) -> Section:
    """Return how items under *key* are shown."""
    found = _known().get(key)
    return found if found is not None else _plain(key)


@functools.cache
def _known() -> dict[str, Section]:
    return {point.name: point.load() for point in entry_points(group="harness.sections")}


def _plain(key: str) -> Section:
    title = key.replace("_", " ")

    def table(items: Sequence[Item]) -> Table:
        made = Table(title=title, title_justify="left", box=None, pad_edge=False)
        names = _names(items)
        for name in names:
            made.add_column(name, overflow="fold")
        for item in items:
            made.add_row(*(Text(str(item.get(name, ""))) for name in names))
        return made

    def page(shown: Sequence[Shown]) -> Markup:
        parts = []
        for kernel in shown:
            names = _names(kernel.items)
            head = Markup("").join(Markup('<th scope="col">{}</th>').format(n) for n in names)
            rows = Markup("").join(
                Markup("<tr>{}</tr>").format(
                    Markup("").join(Markup("<td>{}</td>").format(item.get(n, "")) for n in names)
                )
                for item in kernel.items
            )
            parts.append(
                Markup('<div class="scroll"><table><caption>{}</caption>{}{}</table></div>').format(
                    kernel.label, Markup("<thead><tr>{}</tr></thead>").format(head), rows
                )
            )
        return Markup("").join(parts)

    return Section(title=title, table=table, page=page)


def _names(items: Sequence[Item]) -> list[str]:
    return list(dict.fromkeys(name for item in items for name in item))
