# SPDX-License-Identifier: GPL-2.0-only
"""The rest of the report's page: facts, and what other commands found out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from harness.base.text import plural
from harness.report.columns import visible
from harness.results.results import RunResults

_WIDTH = 1000
_LOG_LINES = 40

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
    support = [item.subject for item in series.support if item.applied]
    host = machine.host
    return [
        ("kernel", f"Linux {kernel.version} ({kernel.label})"),
        ("base", kernel.base),
        ("series", series.title or "none"),
        ("below all patches", "; ".join(support)),
        ("profile", results.profile),
        ("configuration", kernel.config),
        ("toolchain", kernel.toolchain),
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
