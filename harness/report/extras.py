# SPDX-License-Identifier: GPL-2.0-only
"""The rest of the report's page: live updates, facts, and what other commands found out."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.report.columns import Column, plural, visible
from harness.results.results import RunResults, UpdateResult

STAGES = ("preserve", "load", "blackout", "retrieve", "verify", "finish")
_WIDTH = 1000
_LOG_LINES = 40

# -- live updates --------------------------------------------------------------------------


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
    """The live updates of a column.

    :param middle: an update whose stages are the medians of all.
    :param longest: the longest blackout, in seconds.
    """

    column: Column
    middle: Update
    shortest: float
    longest: float
    updates: tuple[Update, ...]


def scale_of(columns: Sequence[Column]) -> tuple[float, tuple[tuple[str, float], ...]]:
    """Return how many seconds are drawn, and the marks of the axis with their places."""
    longest = max((sum(u.stages.values()) for c in columns for u in _updates(c)), default=0.0)
    step = next((s for s in (0.5, 1, 2, 5, 10, 20, 50, 100) if longest / s <= 6), 200)
    marks = [n * step for n in range(int(longest / step) + 1)]
    return longest, tuple((f"{mark:g} s", round(_WIDTH * mark / (longest or 1))) for mark in marks)


def timelines_of(columns: Sequence[Column], longest: float) -> tuple[Timeline, ...]:
    """Return the live updates of every column that has some."""
    found = []
    for column in columns:
        updates = _updates(column)
        if not updates:
            continue
        middle = {
            stage: statistics.median(u.stages.get(stage, 0.0) for u in updates) for stage in STAGES
        }
        blackouts = [u.stages.get("blackout", 0.0) for u in updates]
        found.append(
            Timeline(
                column=column,
                middle=_update(None, middle, longest),
                shortest=min(blackouts),
                longest=max(blackouts),
                updates=tuple(_update(u, u.stages, longest) for u in updates),
            )
        )
    return tuple(found)


def _updates(column: Column) -> tuple[UpdateResult, ...]:
    return column.results.live_updates if column.results is not None else ()


def _update(update: UpdateResult | None, stages: Mapping[str, float], longest: float) -> Update:
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


# -- what was tested -------------------------------------------------------------------------


def facts_of(runs: Iterable[RunResults]) -> list[tuple[str, str]]:
    """Return what all runs had in common; what differs is told by profile."""
    by_profile: dict[str, list[tuple[str, str]]] = {}
    for results in runs:
        by_profile.setdefault(results.profile, _facts(results))
    told: dict[str, dict[str, list[str]]] = {}
    for profile, facts in by_profile.items():
        for name, value in facts:
            told.setdefault(name, {}).setdefault(value, []).append(profile)
    return [
        (name if len(values) == 1 else f"{name}, {', '.join(profiles)}", value)
        for name, values in told.items()
        for value, profiles in values.items()
        if value
    ]


def _facts(results: RunResults) -> list[tuple[str, str]]:
    kernel, series, machine = results.kernel, results.series, results.machine
    support = [item["subject"] for item in series.get("support") or () if item["applied"]]
    host = machine.get("host") or {}
    cpus = f"{plural(host['cpus'], 'CPU')}, {host['memory_mib']} MiB" if host else ""
    return [
        ("kernel", f"Linux {kernel['version']} ({kernel['label']})"),
        ("base", str(kernel["base"])),
        ("series", str(series.get("title") or "none")),
        ("below all patches", "; ".join(support)),
        ("profile", results.profile),
        ("configuration", str(kernel["config"])),
        ("toolchain", str(kernel["toolchain"])),
        ("QEMU", str(machine["qemu"])),
        ("accelerator", f"{results.accel}: {machine['accel_reason']}"),
        ("guest", f"{machine['memory_mib']} MiB, {machine['cpus']} CPUs, {machine['arch']}"),
        ("kernel parameters", _words(machine["cmdline"])),
        ("host", "; ".join(filter(None, (host.get("kernel"), host.get("cpu"), cpus)))),
    ]


def _words(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


# -- what other commands found out -------------------------------------------------------------


def coverage_of(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``coverage.json`` with a line for all files and the gaps that nobody explains."""
    files = [
        dict(file) | {"percent": _percent(file["reached"], file["lines"])} for file in data["files"]
    ]
    lines, reached = (sum(file[name] for file in files) for name in ("lines", "reached"))
    gaps = [gap for file in files for gap in file["gaps"]]
    return {
        "files": files,
        "all": {"lines": lines, "reached": reached, "percent": _percent(reached, lines)},
        "gaps": len(gaps),
        "unexplained": sum(not gap["reason"] for gap in gaps),
    }


def _percent(reached: int, lines: int) -> float:
    return round(100 * reached / lines, 1) if lines else 100.0


_FATES = {
    "killed": ("ok", "\u2713", "killed"),
    "survived": ("bad", "\u2717!", "survived"),
    "as_stated": ("stated", "\u2717", "survives, as stated"),
    "killed_after_all": ("bad", "\u2713!", "killed, but stated to survive"),
    "wrong": ("bad", "!", "no use: does not apply or build"),
    "no_verdict": ("error", "?", "no verdict"),
}


def mutants_of(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``mutants.json`` by the patch that each breaks, with words for the fates."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for item in data["mutants"]:
        kind, symbol, word = _FATES.get(item["fate"], ("error", "?", item["fate"]))
        said = item | {"kind": kind, "symbol": symbol, "word": word}
        groups.setdefault(str(item["breaks"]), []).append(said)
    counts = {
        word: sum(item["fate"] == fate for item in data["mutants"])
        for fate, (_, _, word) in _FATES.items()
    }
    ordered = sorted(groups.items(), key=lambda g: int(g[0]) if g[0].isdecimal() else -1)
    return {
        "groups": ordered,
        "killed": counts["killed"],
        "total": len(data["mutants"]),
        "bad": sum(item["kind"] == "bad" for _, own in ordered for item in own),
        "said": ", ".join(f"{n} {word}" for word, n in counts.items() if n),
    }


_VERDICTS = {
    "passes": ("ok", "\u2713"),
    "fails": ("stated", "\u2717"),
    "no verdict": ("error", "?"),
}


def bisect_of(data: Mapping[str, Any], directory: Path) -> dict[str, Any]:
    """Return ``bisect.json`` as a line of what was asked, in its order in the series."""
    steps = []
    for number, step in enumerate(data["steps"], 1):
        kind, symbol = _VERDICTS.get(step["verdict"], ("error", "?"))
        steps.append(_named(step) | {"number": number, "kind": kind, "symbol": symbol})
    first = [_named(point)["name"] for point in data["candidates"]]
    positions = [step["position"] for step in steps]
    line = sorted(steps, key=lambda s: s["position"]) if None not in positions else steps
    return {
        "tests": data["tests"],
        "steps": steps,
        "line": [step | {"first": step["name"] in first} for step in line],
        "candidates": [_named(point) for point in data["candidates"]],
        "sides": [
            (label, _named(data[key]) | {"console": _console(data[key], directory)})
            for label, key in (("the last before", "before"), ("the first after", "after"))
        ],
    }


def _named(point: Mapping[str, Any]) -> dict[str, Any]:
    position, commit = point["position"], point["commit"] or ""
    name = f"position {position}" if position is not None else f"commit {commit[:12]}"
    return {**point, "name": name, "short": str(position if position is not None else commit[:7])}


def _console(step: Mapping[str, Any], directory: Path) -> str:
    """Return the end of a step's console, or of its log, wherever its directory was moved."""
    path = Path(step.get("console") or step.get("log") or "")
    if ".." in path.parts:
        return ""
    for count in range(len(path.parts) - 1, 0, -1):
        found = directory.joinpath(*path.parts[-count:])
        if found.is_file():
            lines = found.read_text(encoding="utf-8", errors="replace").splitlines()
            return visible("\n".join(lines[-_LOG_LINES:]))
    return ""


def bench_of(data: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return figures with their ranges, each on a scale that ends at its own maximum."""
    found = []
    for name, figure in data.items():
        if not isinstance(figure, dict) or not {"min", "median", "max"} <= figure.keys():
            continue
        top = figure["max"] or 1
        places = {key: round(_WIDTH * figure[key] / top) for key in ("min", "median", "max")}
        found.append({"name": name, **figure, "at": places})
    return found
