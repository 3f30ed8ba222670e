# SPDX-License-Identifier: GPL-2.0-only
"""The report that people look at: one HTML file, made from a results directory alone.

The page loads nothing, from nowhere, and its content security policy says so; what comes out of
a kernel log stays text (Jinja2 escapes everything).  It can be read without its script, which
filters and folds rows, and shows the evidence of a mark beside it.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup, escape

from harness.base.errors import SpecError
from harness.base.text import duration, first_line, plural
from harness.report.bugs import page_of_bugs
from harness.report.columns import (
    Column,
    detail_id,
    mark_of,
    matrix_columns,
    run_column,
)
from harness.report.compat import page_of
from harness.report.evidence import chapters_of
from harness.report.extras import (
    bench_of,
    bisect_of,
    coverage_of,
    facts_of,
    mutants_of,
)
from harness.report.grid import groups_of, patches_of, rows_of
from harness.report.problems import about, first_seen, where
from harness.report.sections import Sections, Shown, section_of
from harness.report.text import series_lines
from harness.results.bugs import read_bugs
from harness.results.compat import read_compat
from harness.results.complaint import (
    Complaint,
    complaints_of,
    problems_of,
)
from harness.results.form import to_plain
from harness.results.records import (
    BisectRecord,
    CellStatus,
    CoverageRecord,
    MatrixRecord,
    MutantsRecord,
    NightlyRecord,
    PartRecord,
    read_figures,
    read_record,
    says_schema,
)
from harness.results.results import read_results

REPORT = "report.html"

_EXTRAS = ("bisect", "mutants", "coverage", "compat", "bugs", "bench")
"""What other commands leave, by the names of its files."""


def write_report(directory: Path, sections: Sections) -> Path:
    """Make the report of a results directory, in it; return the file.

    :param sections: of the suite that was run.
    :raises SpecError: when the directory holds no results, or damaged ones.
    """
    text = render(directory, sections)
    target = directory / REPORT
    making = directory / f".{REPORT}.new"
    making.write_text(text, encoding="utf-8", errors="replace")
    making.replace(target)
    return target


def render(directory: Path, sections: Sections) -> str:
    """Return the report of a results directory.

    :param sections: of the suite that was run.
    :raises SpecError: when the directory holds no results, or damaged ones.
    """
    try:
        page = _page_of(directory, sections)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise SpecError(f"{directory}: damaged results: {error!r}") from error
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("harness.report", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "duration": duration,
        "first_line": first_line,
        "breakable": breakable,
    }
    script = environment.get_template("page.js").render()
    style = environment.get_template("page.css").render() + page.get("section_style", "")
    return environment.get_template("page.html.j2").render(
        **(_EMPTY | page),
        script=script,
        style=style,
        script_hash=_hash(script),
        style_hash=_hash(style),
    )


def breakable(text: str) -> Markup:
    """Return a name or a path that a line may break after each underscore and slash."""
    return Markup(re.sub("([_/]+)", r"\1<wbr>", str(escape(text))))  # noqa: S704 - escaped


def _hash(text: str) -> str:
    """Return what a content security policy calls an inline script or style."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


# -- pages ---------------------------------------------------------------------------------

_EMPTY: dict[str, Any] = {
    "subtitle": "",
    "verdict": None,
    "tiles": (),
    "parts": (),
    "unexpected": (),
    "patches": (),
    "positions": (),
    "columns": (),
    "groups": (),
    "chapters": (),
    "sections": (),
    "facts": (),
    **dict.fromkeys(_EXTRAS),
}


def _page_of(directory: Path, sections: Sections) -> dict[str, Any]:
    extras = _extras(directory)
    if (directory / "matrix.json").exists():
        page = _matrix_page(directory, sections)
    elif (directory / "results.json").exists():
        page = _run_page(directory, sections)
    elif (directory / "nightly.json").exists():
        page = _nightly_page(read_record(directory / "nightly.json", NightlyRecord))
    elif extras:
        page = _other_page(extras)
    else:
        raise SpecError(
            f"{directory} holds no results",
            hint="give a directory below results/, such as results/latest",
        )
    return page | extras


def _extras(directory: Path) -> dict[str, Any]:
    """Return what other commands left here, or in a directory right below."""
    readers: dict[str, Callable[[Path], Any]] = {
        "bisect": lambda path: bisect_of(read_record(path, BisectRecord), directory),
        "mutants": lambda path: mutants_of(read_record(path, MutantsRecord)),
        "coverage": lambda path: coverage_of(read_record(path, CoverageRecord)),
        "compat": lambda path: page_of(read_compat(path)),
        "bugs": lambda path: page_of_bugs(read_bugs(path)),
        "bench": lambda path: bench_of(read_figures(path)),
    }
    found = {}
    for name in _EXTRAS:
        for path in (directory / f"{name}.json", *sorted(directory.glob(f"*/{name}.json"))):
            # gcovr leaves a coverage.json of its own.
            if path.exists() and (name == "bench" or says_schema(path)):
                found[name] = readers[name](path)
                break
    return found


def _run_page(directory: Path, sections: Sections) -> dict[str, Any]:
    results = read_results(directory / "results.json")
    column = run_column(results, directory)
    wrong = tuple(
        complaints_of(
            results, position=column.position, profile=column.profile, directory=directory
        )
    )
    return _tested_page([column], wrong, sections) | {
        "title": results.series.title or "A kernel as it is",
        "subtitle": f"{results.kernel.release}, profile {results.profile}",
        "applied": results.series.patches,
        "series_lines": series_lines(results.series),
        "position": column.position,
        "unexpected": _problems(wrong, [column]),
    }


def _matrix_page(directory: Path, sections: Sections) -> dict[str, Any]:
    matrix = read_record(directory / "matrix.json", MatrixRecord)
    columns = matrix_columns(matrix, directory)
    wrong = matrix.unexpected
    first = next((c.results for c in columns if c.results is not None), None)
    title = first.series.title if first is not None else matrix.series
    rows = rows_of(columns)
    positions = sorted({column.position for column in columns})
    profiles = ", ".join(dict.fromkeys(column.profile for column in columns))
    release = f"Linux {first.kernel.version}, " if first is not None else ""
    return _tested_page(columns, wrong, sections) | {
        "title": title or "A kernel as it is",
        "subtitle": f"{release}{plural(len(positions), 'position')}, profiles: {profiles}",
        "patches": patches_of(columns, rows, matrix.transitions),
        "positions": positions,
        "unexpected": _problems(wrong, columns),
    }


def _problems(wrong: Sequence[Complaint], columns: Sequence[Column]) -> list[dict[str, Any]]:
    """Return a card for each cause, with links to the evidence at each place."""
    subjects = {column.position: column.subject for column in columns}
    return [
        {
            "problem": problem,
            "count": len(problem.complaints),
            "about": about(problem),
            "where": where(problem),
            "first_seen": first_seen(problem, subjects),
            "links": [
                (item, link) for item in problem.complaints if (link := _link(item, columns))
            ],
        }
        for problem in problems_of(wrong)
    ]


def _link(item: Complaint, columns: Sequence[Column]) -> str | None:
    """Return the id of the evidence about something unexpected, if there is any."""
    own = [c for c in columns if (c.position, c.profile) == (item.position, item.profile)]
    if item.test is None and own and own[0].status is CellStatus.TESTED:
        return None  # a warning: the kernel was tested all the same
    return detail_id(own[0].id, item.test) if own else None


def _tested_page(
    columns: Sequence[Column], wrong: Sequence[Complaint], sections: Sections
) -> dict[str, Any]:
    drawn = _drawn(columns, sections)
    bad = sum(item.verdict for item in wrong)
    return {
        "verdict": _verdict(bad, len(wrong) - bad),
        "findings": [
            {
                "position": column.position,
                "profile": column.profile,
                "test": test.id,
                "weight": test.weight,
                "beyond": test.beyond,
                "message": test.message,
                "link": detail_id(column.id, test.id),
            }
            for column in columns
            for test in (column.results.findings if column.results is not None else ())
        ],
        "tiles": list(_tiles(columns, sections)),
        "columns": columns,
        "starts": [n for n, c in enumerate(columns) if n and columns[n - 1].profile != c.profile],
        "groups": groups_of(rows_of(columns), columns),
        "chapters": chapters_of(columns),
        "sections": [part for part, _ in drawn],
        "section_style": "".join(style for _, style in drawn),
        "facts": facts_of(c.results for c in columns if c.results is not None),
    }


def _extras_by_key(columns: Sequence[Column]) -> dict[str, list[Shown]]:
    """Return what tests of the suite entered: key -> the kernels that have such items."""
    found: dict[str, list[Shown]] = {}
    for column in columns:
        label = f"position {column.position}, {column.profile}" if len(columns) > 1 else ""
        for key, items in (column.results.extras if column.results is not None else {}).items():
            if items:
                found.setdefault(key, []).append(Shown(label, items))
    return found


def _drawn(columns: Sequence[Column], sections: Sections) -> list[tuple[dict[str, Any], str]]:
    """Return the suite's own sections of the page, each with the style it needs."""
    found = []
    for key, kernels in _extras_by_key(columns).items():
        section = section_of(key, sections)
        part = {"id": f"extra-{key}", "title": section.title, "body": section.page(kernels)}
        found.append((part, section.style))
    return found


def _verdict(bad: int, errors: int, good: str = "all as it should be") -> dict[str, str]:
    if bad:
        return {"kind": "bad", "symbol": "\u2717", "word": f"{bad} not as it should be"}
    if errors:
        return {"kind": "error", "symbol": "?", "word": f"{errors} without a verdict"}
    return {"kind": "ok", "symbol": "\u2713", "word": good}


def _tiles(columns: Sequence[Column], sections: Sections) -> Iterator[tuple[str, str]]:
    """Yield figures and what they count, the most telling first."""
    marks = Counter(
        mark_of(test, column.judge).kind for column in columns for test in column.tests.values()
    )
    for kind, words in (
        ("bad", "not as they should be"),
        ("error", "without a verdict"),
        ("ok", "pass"),
        ("stated", "fail as stated"),
        ("either", "are races"),
        ("skip", "do not apply"),
    ):
        if marks[kind]:
            yield str(marks[kind]), words
    warnings = sum(len(column.build.new_warnings or ()) for column in columns)
    yield str(warnings), "new build warning" + ("s" if warnings != 1 else "")
    if len(columns) > 1:
        yield f"{sum(c.cached for c in columns)} of {len(columns)}", "kernels from the cache"
    for key, kernels in _extras_by_key(columns).items():
        yield str(sum(len(each.items) for each in kernels)), section_of(key, sections).title
    yield duration(sum(column.seconds for column in columns)), "of building and testing"


def _nightly_page(nightly: NightlyRecord) -> dict[str, Any]:
    parts = nightly.parts
    bad = sum(part.kernel for part in parts)
    errors = sum(part.runner for part in parts)
    return {
        "title": f"Nightly of {nightly.date}",
        "subtitle": f"{plural(len(parts), 'part')}, {duration(nightly.seconds)}",
        "verdict": _verdict(bad, errors),
        "parts": [to_plain(part) | _part_verdict(part) for part in parts],
    }


def _part_verdict(part: PartRecord) -> dict[str, str]:
    kind = "bad" if part.kernel else "error" if part.runner else "ok"
    words = {"bad": "to look at", "error": "trouble of the runner", "ok": "as it should be"}
    return {"kind": kind, "said": words[kind]}


def _other_page(extras: Mapping[str, Any]) -> dict[str, Any]:
    if "bisect" in extras:
        found = extras["bisect"]
        names = [point["name"] for point in found["candidates"]]
        word = f"first: {names[0]}" if len(names) == 1 else f"one of {', '.join(names)}"
        verdict = {"kind": "ok", "symbol": "\u2713", "word": word}
        if len(names) > 1:
            verdict = {"kind": "error", "symbol": "?", "word": word}
        return {"title": "Bisection", "subtitle": ", ".join(found["tests"]), "verdict": verdict}
    if "mutants" in extras:
        found = extras["mutants"]
        unknown = found["total"] - found["killed"] - found["bad"]
        good = f"{found['killed']} of {found['total']} killed"
        verdict = _verdict(found["bad"], 0, good)
        subtitle = "wrong patches, and the tests that notice them"
        return {
            "title": "Mutants",
            "subtitle": subtitle if not unknown else f"{subtitle}; {good}",
            "verdict": verdict,
        }
    for name, title in (
        ("compat", "Which kernel hands over to which"),
        ("bugs", "Which kernel has which bug"),
    ):
        if name in extras:
            found = extras[name]
            verdict = _verdict(found["wrong"], found["unknown"])
            return {"title": title, "subtitle": found["said"], "verdict": verdict}
    return {"title": "Coverage" if "coverage" in extras else "Figures"}
