# SPDX-License-Identifier: GPL-2.0-only
"""The rest of the report's page: facts, and what other commands found out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from harness.base.text import plural
from harness.report.columns import visible
from harness.report.text import lack_lines, machine_lines, reroll_lines
from harness.results.form import to_plain
from harness.results.records import (
    BisectRecord,
    CoverageRecord,
    Fate,
    FigureRecord,
    MutantsRecord,
    PointRecord,
    StepRecord,
    Verdict,
)
from harness.results.results import RunResults

_WIDTH = 1000
_LOG_LINES = 40

# -- what was tested -------------------------------------------------------------------------


def facts_of(runs: Iterable[RunResults]) -> list[tuple[str, str]]:
    """Return what all runs had in common; what differs is told by profile."""
    runs = tuple(runs)
    by_profile: dict[str, list[tuple[str, str]]] = {}
    for results in runs:
        by_profile.setdefault(results.profile, _facts(results))
    told: dict[str, dict[str, list[str]]] = {}
    for profile, facts in by_profile.items():
        for name, value in facts:
            told.setdefault(name, {}).setdefault(value, []).append(profile)
    boots = [boot for results in runs for boot in results.boots]
    machines = "; ".join(machine_lines(boots, tests=len(runs) == 1))
    return [
        *(
            (name if len(values) == 1 else f"{name}, {', '.join(profiles)}", value)
            for name, values in told.items()
            for value, profiles in values.items()
            if value
        ),
        *([("machines", machines)] if machines else []),
    ]


def _facts(results: RunResults) -> list[tuple[str, str]]:
    kernel, series, machine = results.kernel, results.series, results.machine
    support = [item.subject for item in series.support if item.applied]
    host = machine.host
    return [
        ("kernel", f"Linux {kernel.version} ({kernel.label})"),
        ("base", kernel.base),
        *(("fixes", line) for line in lack_lines(kernel, results.known_bugs)),
        ("series", series.title or "none"),
        ("re-roll", "; ".join(reroll_lines(series.taken, series.left_out))),
        ("below all patches", "; ".join(support)),
        ("profile", results.profile),
        ("configuration", kernel.config),
        ("toolchain", kernel.toolchain),
        ("built in no sandbox", kernel.no_sandbox or ""),
        ("QEMU", machine.qemu),
        ("accelerator", f"{results.accel}: {machine.accel_reason}"),
        ("guest", f"{machine.memory_mib} MiB, {machine.cpus} CPUs, {machine.arch}"),
        ("kernel parameters", " ".join(machine.cmdline)),
        (
            "host",
            f"{host.kernel}; {host.cpu}; {plural(host.cpus, 'CPU')}, {host.memory_mib} MiB",
        ),
    ]


# -- what other commands found out -------------------------------------------------------------


def coverage_of(coverage: CoverageRecord) -> dict[str, Any]:
    """Return the files with a line for all of them, and the gaps that nobody explains."""
    files = [
        to_plain(file) | {"percent": _percent(file.reached, file.lines)} for file in coverage.files
    ]
    lines = sum(file.lines for file in coverage.files)
    reached = sum(file.reached for file in coverage.files)
    gaps = [gap for file in coverage.files for gap in file.gaps]
    return {
        "files": files,
        "all": {"lines": lines, "reached": reached, "percent": _percent(reached, lines)},
        "gaps": len(gaps),
        "unexplained": sum(not gap.reason for gap in gaps),
    }


def _percent(reached: int, lines: int) -> float:
    return round(100 * reached / lines, 1) if lines else 100.0


_FATES = {
    Fate.KILLED: ("ok", "\u2713", "killed"),
    Fate.SURVIVED: ("bad", "\u2717!", "survived"),
    Fate.AS_STATED: ("stated", "\u2717", "survives, as stated"),
    Fate.KILLED_AFTER_ALL: ("bad", "\u2713!", "killed, but stated to survive"),
    Fate.WRONG: ("bad", "!", "no use: does not apply or build"),
    Fate.NO_VERDICT: ("error", "?", "no verdict"),
}


def mutants_of(record: MutantsRecord) -> dict[str, Any]:
    """Return mutants by the patch that each breaks, with words for the fates."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for item in record.mutants:
        kind, symbol, word = _FATES[item.fate]
        said = to_plain(item) | {"kind": kind, "symbol": symbol, "word": word}
        groups.setdefault(item.breaks, []).append(said)
    counts = {
        word: sum(item.fate is fate for item in record.mutants)
        for fate, (_, _, word) in _FATES.items()
    }
    ordered = sorted(groups.items(), key=lambda g: int(g[0]) if g[0].isdecimal() else -1)
    return {
        "groups": ordered,
        "killed": counts["killed"],
        "total": len(record.mutants),
        "bad": sum(item["kind"] == "bad" for _, own in ordered for item in own),
        "said": ", ".join(f"{n} {word}" for word, n in counts.items() if n),
    }


_VERDICTS = {
    Verdict.PASSES: ("ok", "\u2713"),
    Verdict.FAILS: ("stated", "\u2717"),
    Verdict.NONE: ("error", "?"),
}


def bisect_of(found: BisectRecord, directory: Path) -> dict[str, Any]:
    """Return a bisection with a line of what was asked, in its order in the series.

    :param directory: where it is, with its logs.
    """
    steps = []
    for number, step in enumerate(found.steps, 1):
        kind, symbol = _VERDICTS[step.verdict]
        steps.append(_named(step) | {"number": number, "kind": kind, "symbol": symbol})
    candidates = [_named(point) for point in found.candidates]
    first = [point["name"] for point in candidates]
    positions = [step.position for step in found.steps]
    line = sorted(steps, key=lambda s: s["position"]) if None not in positions else steps
    return {
        "tests": found.tests,
        "steps": steps,
        "line": [step | {"first": step["name"] in first} for step in line],
        "candidates": candidates,
        "sides": [
            (label, _named(step) | {"console": _console(step, directory)})
            for label, step in (
                ("the last before", found.before),
                ("the first after", found.after),
            )
        ],
    }


def _named(point: PointRecord) -> dict[str, Any]:
    position, commit = point.position, point.commit or ""
    name = f"position {position}" if position is not None else f"commit {commit[:12]}"
    short = str(position if position is not None else commit[:7])
    return {**to_plain(point), "name": name, "short": short}


def _console(step: StepRecord, directory: Path) -> str:
    """Return the end of a step's console, or of its log, wherever its directory was moved."""
    path = Path(step.console or step.log or "")
    if ".." in path.parts:
        return ""
    for count in range(len(path.parts) - 1, 0, -1):
        found = directory.joinpath(*path.parts[-count:])
        if found.is_file():
            lines = found.read_text(encoding="utf-8", errors="replace").splitlines()
            return visible("\n".join(lines[-_LOG_LINES:]))
    return ""


def bench_of(figures: Mapping[str, FigureRecord]) -> list[dict[str, Any]]:
    """Return figures with their ranges, each on a scale that ends at its own maximum.

    Those without a value say why.
    """
    found = []
    for name, figure in figures.items():
        shown: dict[str, Any] = {"name": name, "unit": figure.unit, "runs": figure.runs}
        if figure.least is None or figure.median is None or figure.most is None:
            found.append(shown | {"error": figure.error or "no value"})
            continue
        values = {"min": figure.least, "median": figure.median, "max": figure.most}
        top = figure.most or 1
        places = {key: round(_WIDTH * value / top) for key, value in values.items()}
        found.append(shown | values | {"error": "", "at": places})
    return found
