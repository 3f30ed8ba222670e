# SPDX-License-Identifier: GPL-2.0-only
"""What a suite adds to the results, the tables and the page.

A suite's tests may enter items of their own into the results (:meth:`Session.add
<harness.plugin.session.Session.add>`): plain data under a key.  A :class:`Section` says how they
are shown; ``sections`` in ``suite.yaml`` names it.  Items that nobody knows how to show are shown
as a plain table.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup
from rich.table import Table
from rich.text import Text

from harness.base.errors import SpecError
from harness.base.suite import Suite

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


Sections = Mapping[str, Section]
"""Key of the results' extras -> how its items are shown."""


def load_sections(suite: Suite) -> Sections:
    """Return the sections that a suite brings.

    :raises SpecError: naming file and line, when one does not load or is something else.
    """
    found = {}
    for key, spec in suite.sections.items():
        made = spec.load()
        if not isinstance(made, Section):
            said = f"{spec.module}:{spec.name} is no Section but {type(made).__name__}"
            raise SpecError(f"{spec.place}: {said}", hint="see docs/suite.md")
        found[key] = made
    return found


def section_of(key: str, sections: Sections) -> Section:
    """Return how items under *key* are shown."""
    return sections[key] if key in sections else _plain(key)


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
