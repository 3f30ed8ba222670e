# SPDX-License-Identifier: GPL-2.0-only
"""Which lines of the suite's files the guest tests reach, in all kernels of a machine.

The profile ``coverage`` counts (gcov); machines leave the counters of each of their kernels beside
their logs (:meth:`harness.guest.machine.Machine.collect_counters`); gcovr adds them up.
"""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.base import command
from harness.base.cpus import usable_cpus
from harness.base.errors import InfrastructureError, SpecError
from harness.base.spec import DEFAULT_CC
from harness.base.strict_yaml import read_yaml_list
from harness.base.suite import CoverageSpec, Suite
from harness.base.timeouts import HOST
from harness.results.directory import AGAIN
from harness.results.records import FileRecord, GapRecord
from harness.search.reach import gcov_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """Why lines cannot be reached.

    :param function: of these lines.
    :param text: what the first of the lines holds; empty for any.
    """

    file: str
    function: str
    text: str
    reason: str


def coverage_of(suite: Suite) -> CoverageSpec:
    """Return which files count.

    :raises SpecError: when the suite does not say.
    """
    if suite.coverage is None:
        raise SpecError(
            f"{suite.file} does not say which files count",
            hint="the key 'coverage' with 'files', a regular expression for paths",
        )
    return suite.coverage


def read_reasons(file: Path | None) -> tuple[Reason, ...]:
    """Read why lines cannot be reached.

    :param file: the suite's; ``None`` gives no reasons.
    :raises SpecError: on anything that is none.
    """
    found: list[Reason] = []
    items = read_yaml_list(file, "the list of lines that cannot be reached") if file else ()
    for item in items:
        with item:
            found.append(
                Reason(
                    file=item.value("file", str),
                    function=item.value("function", str),
                    text=item.value("text", str, ""),
                    reason=item.value("reason", str),
                )
            )
    return tuple(found)


def counted(results: Path, build_key: str) -> tuple[Path, ...]:
    """Return the directories with counters of one build below a run's results."""
    runs = (results, results / AGAIN)
    found = (run.glob(f"machines/*/gcov/*-{build_key}") for run in runs)
    return tuple(sorted(itertools.chain.from_iterable(found)))


def merge(
    directories: Sequence[Path],
    sources: Path,
    results: Path,
    files: str,
    *,
    cc: str = DEFAULT_CC,
) -> dict[str, Any]:
    """Add counters up with gcovr; return its JSON, and leave the HTML report in *results*.

    :param sources: the work tree that was built, checked out.
    :param files: a regular expression for the paths that count.
    :param cc: the compiler: its counters are for its own gcov.
    :raises InfrastructureError: when there are no counters.
    """
    if not any(path for directory in directories for path in directory.rglob("*.gcda")):
        raise InfrastructureError(
            "no kernel left any counters", hint="did a test run, with the profile coverage?"
        )
    html = results / "coverage"
    html.mkdir(parents=True, exist_ok=True)
    words: list[str | Path] = [sys.executable, "-m", "gcovr", "--root", sources]
    words += [
        "--filter",
        files,
        "--gcov-ignore-parse-errors=all",
        "--exclude-unreachable-branches",
    ]
    words += ["--gcov-executable", gcov_of(cc)]
    words += ["-j", str(usable_cpus())]
    words += ["--merge-mode-functions=merge-use-line-min"]
    words += ["--json", html / "coverage.json", "--html-details", html / "index.html"]
    words += ["--html-title", "Live update code that the guest tests reach", *directories]
    command.run(words, timeout_s=HOST.coverage_s, cwd=sources)
    found: dict[str, Any] = json.loads((html / "coverage.json").read_text())
    return found


def read_coverage(
    merged: dict[str, Any], sources: Path, reasons: Iterable[Reason]
) -> tuple[FileRecord, ...]:
    """Turn gcovr's JSON into files and the gaps in them."""
    reasons = tuple(reasons)
    found = []
    for item in merged["files"]:
        name = str(item["file"])
        code = [line for line in item["lines"] if not line.get("gcovr/noncode")]
        text = (sources / name).read_text(encoding="utf-8").splitlines()
        gaps: list[GapRecord] = []
        for (function, hit), lines in itertools.groupby(
            code, key=lambda line: (line.get("function_name", ""), line["count"] > 0)
        ):
            if hit:
                continue
            numbers = [int(line["line_number"]) for line in lines]
            first = text[numbers[0] - 1].strip()
            gaps.append(
                GapRecord(
                    function=str(function),
                    first=numbers[0],
                    last=numbers[-1],
                    text=first,
                    reason=_reason(reasons, name, str(function), first),
                )
            )
        found.append(
            FileRecord(
                file=name,
                lines=len(code),
                reached=sum(line["count"] > 0 for line in code),
                gaps=tuple(gaps),
            )
        )
    return tuple(found)


def _reason(reasons: Iterable[Reason], file: str, function: str, text: str) -> str:
    for item in reasons:
        if file.endswith(item.file) and function == item.function and item.text in text:
            return item.reason
    return ""


def percent(files: Iterable[FileRecord]) -> float:
    """Return how much of all lines was reached, in percent; 0 of no lines."""
    files = tuple(files)
    lines = sum(file.lines for file in files)
    return 100.0 * sum(file.reached for file in files) / lines if lines else 0.0
