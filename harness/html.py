# SPDX-License-Identifier: GPL-2.0-only
"""The report that people look at: one HTML file, made from a results directory alone.

The page loads nothing, from nowhere, and its content security policy says so; what comes out of
a kernel log stays text (Jinja2 escapes everything).  It can be read without its script, which
only filters rows and opens what a link points to.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jinja2

from harness.errors import SpecError
from harness.report import Outcome, RunResults, TestResult, read_results

REPORT = "report.html"
_CONSOLE_LINES = 60
_STAGES = ("preserve", "load", "blackout", "retrieve", "verify", "finish")


@dataclass(frozen=True, slots=True)
class Mark:
    """A test at a position, as the matrix shows it.

    :param kind: names its style: ``ok``, ``stated``, ``bad``, ``error``, ``skip`` or ``none``.
    :param symbol: says the same without colour.
    :param label: says it in words.
    :param link: the id of its details, ``None`` when there is nothing to tell.
    :param flips: whether it does something else than at the position before.
    """

    kind: str
    symbol: str
    label: str
    link: str | None = None
    flips: bool = False


@dataclass(frozen=True, slots=True)
class Column:
    """A position under a profile.

    :param results: ``None`` when the tests did not run; *status* says why.
    :param directory: where its logs are.
    """

    id: str
    position: int
    profile: str
    subject: str
    status: str
    message: str
    results: RunResults | None
    directory: Path
    cached: bool
    reproduce: str
    build: dict[str, Any] = field(default_factory=dict)
    boot: dict[str, Any] = field(default_factory=dict)

    @property
    def tests(self) -> dict[str, TestResult]:
        """The tests' results by id."""
        return {test.id: test for test in self.results.tests} if self.results is not None else {}


def write_report(directory: Path) -> Path:
    """Make the report of a results directory, in it; return the file.

    :raises SpecError: when the directory holds no results, or damaged ones.
    """
    text = render(directory)
    target = directory / REPORT
    making = directory / f".{REPORT}.new"
    making.write_text(text, encoding="utf-8")
    making.replace(target)
    return target


def render(directory: Path) -> str:
    """Return the report of a results directory.

    :raises SpecError: when the directory holds no results, or damaged ones.
    """
    matrix, run = directory / "matrix.json", directory / "results.json"
    if matrix.exists():
        page = _matrix_page(_load(matrix), directory)
    elif run.exists():
        page = _run_page(read_results(run), directory)
    elif any((directory / name).exists() for name in ("mutants.json", "bisect.json")):
        page = {"title": "Results", "columns": [], "facts": []}
    else:
        raise SpecError(
            f"{directory} holds no results",
            hint="give a directory below results/, such as results/latest",
        )
    for name in ("mutants", "bisect", "coverage", "bench"):
        page[name] = (
            _load(directory / f"{name}.json") if (directory / f"{name}.json").exists() else None
        )
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("harness", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    template = environment.get_template("report.html.j2")
    script = environment.get_template("report.js").render()
    style = environment.get_template("report.css").render()
    return template.render(
        **_with_defaults(page),
        script=script,
        style=style,
        script_hash=_hash(script),
        style_hash=_hash(style),
    )


def _hash(text: str) -> str:
    """Return what a content security policy calls an inline script or style."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _load(path: Path) -> Any:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise SpecError(f"{path}: not a results file: {error}") from error


def _with_defaults(page: dict[str, Any]) -> dict[str, Any]:
    empty: dict[str, Any] = {
        "subtitle": "",
        "verdict": None,
        "patches": [],
        "unexpected": [],
        "columns": [],
        "groups": [],
        "details": [],
        "updates": [],
        "warnings": [],
        "facts": [],
    }
    return empty | page


# -- pages ---------------------------------------------------------------------------------


def _run_page(results: RunResults, directory: Path) -> dict[str, Any]:
    position = int(results.series.get("position") or 0)
    patches = results.series.get("patches") or []
    subject = next((p["subject"] for p in patches if p["position"] == position), "base")
    column = Column(
        id=f"p{position:02}",
        position=position,
        profile=results.profile,
        subject=subject,
        status="tested",
        message="",
        results=results,
        directory=directory,
        cached=False,
        reproduce=f"harness run --position {position} --profile {results.profile}",
        build={"seconds": results.kernel.get("build_seconds"), "cached": results.kernel["cached"]},
    )
    counts = results.counts
    bad = [test for test in results.tests if _is_bad(test, results.judge)]
    errors = [test for test in results.tests if test.outcome is Outcome.ERROR]
    return _page([column], results.series.get("title"), bad=len(bad), errors=len(errors)) | {
        "subtitle": f"{results.kernel['release']}, profile {results.profile}",
        "patches": [{**patch, "flips": []} for patch in patches],
        "counted": ", ".join(f"{n} {name}" for name, n in counts.items() if n and name != "total"),
    }


def _matrix_page(data: dict[str, Any], directory: Path) -> dict[str, Any]:
    columns = []
    for item in data["positions"]:
        here = directory / Path(item["directory"]).name
        found = here / "results.json"
        columns.append(
            Column(
                id=f"p{item['position']:02}-{item['profile']}",
                position=item["position"],
                profile=item["profile"],
                subject=item["subject"],
                status=item["status"],
                message=item["message"],
                results=read_results(found) if found.exists() else None,
                directory=here,
                cached=item["cached"],
                reproduce=item["reproduce"],
                build=item["build"],
                boot=item["boot"],
            )
        )
    columns.sort(key=lambda c: (data["profiles"].index(c.profile), c.position))
    wrong = data["unexpected"]
    verdicts = sum(bool(item["verdict"]) for item in wrong)
    first = next((c.results for c in columns if c.results is not None), None)
    title = first.series.get("title") if first is not None else data["series"]
    return _page(columns, title, bad=verdicts, errors=len(wrong) - verdicts) | {
        "subtitle": f"{len(columns)} kernels, profiles {', '.join(data['profiles'])}",
        "patches": _patches(columns, data["transitions"]),
        "unexpected": [
            item | {"link": _detail_id(f"p{item['position']:02}-{item['profile']}", item["test"])}
            for item in wrong
        ],
        "counted": f"{sum(len(c.tests) for c in columns)} tests",
    }


def _page(columns: Sequence[Column], title: str | None, *, bad: int, errors: int) -> dict[str, Any]:
    if bad:
        kind, symbol, word = "bad", "\u2717", f"{bad} not as they should be"
    elif errors:
        kind, symbol, word = "error", "?", f"{errors} without a verdict"
    else:
        kind, symbol, word = "ok", "\u2713", "all as they should be"
    first = next((c.results for c in columns if c.results is not None), None)
    return {
        "title": title or "A kernel as it is",
        "verdict": {"kind": kind, "symbol": symbol, "word": word},
        "columns": columns,
        "groups": list(_groups(columns)),
        "details": list(_details(columns)),
        "updates": list(_updates(columns)),
        "warnings": [(c, c.build.get("new_warnings") or ()) for c in columns],
        "facts": _facts(first) if first is not None else [],
    }


def _facts(results: RunResults) -> list[tuple[str, str]]:
    kernel, machine = results.kernel, results.machine
    return [
        ("kernel", f"Linux {kernel['version']} ({kernel['label']})"),
        ("base", str(kernel["base"])),
        ("toolchain", str(kernel["toolchain"])),
        ("configuration", f"profile {results.profile}"),
        ("QEMU", str(machine["qemu"])),
        ("accelerator", f"{results.accel}: {machine['accel_reason']}"),
        ("guest", f"{machine['memory_mib']} MiB, {machine['cpus']} CPUs, {machine['arch']}"),
        ("kernel parameters", _words(machine["cmdline"])),
    ]


def _words(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _patches(columns: Sequence[Column], transitions: Iterable[Any]) -> list[dict[str, Any]]:
    """Return each position's patch with what changes there, profiles taken together."""
    subjects = {column.position: column.subject for column in columns}
    found: list[dict[str, Any]] = []
    steps = list(transitions)
    for position, subject in sorted(subjects.items()):
        flips: dict[tuple[str, str, str], list[str]] = {}
        for step in steps:
            if step["to"] == position:
                key = (step["test"], step["before"], step["after"])
                flips.setdefault(key, []).append(step["profile"])
        found.append(
            {
                "position": position,
                "subject": subject,
                "flips": [
                    {"test": test, "before": before, "after": after, "profiles": profiles}
                    for (test, before, after), profiles in sorted(flips.items())
                ],
            }
        )
    return found


# -- the matrix ----------------------------------------------------------------------------


def _groups(columns: Sequence[Column]) -> Iterator[dict[str, Any]]:
    """Yield the rows, file by file: a row is a test, with a mark for each column."""
    ids = dict.fromkeys(test for column in columns for test in column.tests)
    files: dict[str, list[str]] = {}
    for test in ids:
        files.setdefault(test.partition("::")[0], []).append(test)
    for file, tests in sorted(files.items()):
        rows = []
        for test in tests:
            marks = list(_marks(test, columns))
            rows.append(
                {
                    "test": test,
                    "name": test.partition("::")[2] or test,
                    "marks": marks,
                    "flips": any(mark.flips for mark in marks),
                    "odd": any(mark.kind in ("bad", "error") for mark in marks),
                }
            )
        yield {"file": file, "rows": rows}


def _marks(test: str, columns: Sequence[Column]) -> Iterator[Mark]:
    last: tuple[str, Outcome] | None = None
    for column in columns:
        found = column.tests.get(test)
        if found is None:
            yield Mark("none", "", "was not run")
            continue
        judge = column.results.judge if column.results is not None else "desired"
        kind, symbol, label = _kind(found, judge)
        verdict = found.outcome not in (Outcome.ERROR, Outcome.SKIPPED)
        flips = (
            verdict
            and last is not None
            and last[0] == column.profile
            and last[1] is not found.outcome
        )
        if verdict:
            last = (column.profile, found.outcome)
        told = kind not in ("ok", "skip") or bool(found.known_issues)
        yield Mark(kind, symbol, label, _detail_id(column.id, test) if told else None, flips)


def _is_bad(test: TestResult, judge: str) -> bool:
    failed = test.outcome in (Outcome.FAILED, Outcome.CRASHED)
    if judge == "expected":
        return test.unexpected and test.outcome is not Outcome.ERROR
    return failed


def _kind(test: TestResult, judge: str) -> tuple[str, str, str]:
    match test.outcome:
        case Outcome.ERROR:
            return "error", "?", "no verdict: trouble of the host or the machine"
        case Outcome.SKIPPED:
            return "skip", "\u2013", "does not apply at this position"
    if _is_bad(test, judge):
        if test.outcome is Outcome.PASSED:
            return "bad", "\u2713!", "passes, which is not stated"
        return "bad", "\u2717!", f"{test.outcome.value}, which it must not"
    if test.outcome is Outcome.PASSED:
        return "ok", "\u2713", "passes"
    return "stated", "\u2717", f"{test.outcome.value}, as stated before its patch"


def _detail_id(column: str, test: str | None) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "-", f"{column}-{test or 'cell'}").strip("-")


def _details(columns: Sequence[Column]) -> Iterator[dict[str, Any]]:
    """Yield what is to be told of single tests and of cells that came to nothing."""
    for column in columns:
        if column.status != "tested":
            yield {
                "id": _detail_id(column.id, None),
                "heading": f"position {column.position}, {column.profile}: {column.status}",
                "kind": "bad",
                "message": column.message,
                "splats": "",
                "console": "",
                "reproduce": column.reproduce,
            }
        for test in column.tests.values():
            judge = column.results.judge if column.results is not None else "desired"
            kind, _symbol, label = _kind(test, judge)
            if kind in ("ok", "skip") and not test.known_issues:
                continue
            console, splats = _console(column.directory, test)
            yield {
                "id": _detail_id(column.id, test.id),
                "heading": f"position {column.position}, {column.profile}: {test.id}: {label}",
                "kind": kind,
                "message": test.message,
                "splats": splats or "\n".join((*test.splats, *test.known_issues)),
                "console": console,
                "reproduce": f"{column.reproduce} -- tests/guest/{test.id}"
                if " -- " not in column.reproduce
                else column.reproduce,
            }


def _console(directory: Path, test: TestResult) -> tuple[str, str]:
    """Return the end of what the kernel printed in a test, and its decoded splats."""
    if test.console is None:
        return "", ""
    path = directory / test.console
    splats = path.with_suffix(".splats")
    lines = path.read_text(errors="replace").splitlines() if path.exists() else []
    cut = (
        [f"({len(lines) - _CONSOLE_LINES} lines before these)"]
        if len(lines) > _CONSOLE_LINES
        else []
    )
    return (
        "\n".join([*cut, *lines[-_CONSOLE_LINES:]]),
        splats.read_text(errors="replace") if splats.exists() else "",
    )


# -- live updates --------------------------------------------------------------------------


def _updates(columns: Sequence[Column]) -> Iterator[dict[str, Any]]:
    """Yield the live updates with their stages laid out on one scale."""
    found = [
        (column, update)
        for column in columns
        if column.results is not None
        for update in column.results.live_updates
    ]
    longest = max((sum(update.stages.values()) for _, update in found), default=0.0)
    for column, update in found:
        at, bars = 0.0, []
        for name in _STAGES:
            seconds = update.stages.get(name, 0.0)
            bars.append(
                {
                    "name": name,
                    "seconds": seconds,
                    "x": round(1000 * at / longest, 1) if longest else 0,
                    "width": round(1000 * seconds / longest, 1) if longest else 0,
                }
            )
            at += seconds
        yield {
            "position": column.position,
            "profile": column.profile,
            "test": update.test.rpartition("/")[2],
            "number": update.number,
            "verified": f"{update.verified} of {update.preserved}",
            "kept": update.kept,
            "releases": " \u2192 ".join(dict.fromkeys((update.from_release, update.to_release))),
            "total": at,
            "bars": bars,
        }
