# SPDX-License-Identifier: GPL-2.0-only
"""Checks of a patch or a series for reviewers, in the form that ``b4 review`` reads.

b4 gives a check command one mail on its standard input (a patch, or the cover letter of a series)
and reads a JSON array of results from its standard output: b4's documentation, "review", "CI check
integration".
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from harness.base.errors import InputError, SeriesError
from harness.base.spec import KernelSpec, Target
from harness.base.text import duration
from harness.kernel.series import Heading, Series, read_headings, read_series
from harness.kernel.source import git
from harness.results.complaint import Complaint
from harness.results.records import CellStatus
from harness.results.results import Boot, Outcome
from harness.run.cell import CellResult
from harness.search.matrix import complaints, position_of, transitions

TRACKING = "B4_TRACKING_FILE"
"""The variable that names b4's data about the series."""

_REVIEW_BRANCH = "b4/review/"


class Status(StrEnum):
    """How a check ended; ``WARN`` also stands for no verdict."""

    PASS = "pass"  # noqa: S105 - no password
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that was checked; :mod:`harness.report.review` draws it for b4.

    :param tool: what was checked: ``apply``, ``build``, ``boot`` or ``tests``.
    :param summary: one line.
    :param complaints: what nobody expected.
    :param lines: what else there is to tell.
    """

    tool: str
    status: Status
    summary: str
    complaints: tuple[Complaint, ...] = ()
    lines: tuple[str, ...] = ()


# -- what is checked -----------------------------------------------------------------------


def place_patch(data: bytes, series: Series | None, target: Target) -> Target:
    """Return the target under a patch: everything in the series that comes before it.

    A patch is found in *series* by its subject, else by its number in a series of the same size;
    one that is on its own, or the first, goes on the tree itself.

    :param data: the mail.
    :raises SeriesError: when it is no patch, or what comes before it is not known.
    """
    headings = [heading for heading in read_headings(data) if heading.number]
    if len(headings) != 1:
        raise SeriesError(
            f"one patch is expected, not {len(headings)}",
            hint="check-series checks a series; a patch has '[PATCH' in its subject and a diff",
        )
    number = _number_in(headings[0], series)
    if number is not None:
        return dataclasses.replace(target, position=number - 1)
    if headings[0].number > 1:
        raise SeriesError(
            f'patch {headings[0].number} of {headings[0].total} "{headings[0].subject}" is in no '
            "series that is known",
            hint="--series names it: an mbox, as from 'b4 am', a directory, or A..B with --kernel",
        )
    return dataclasses.replace(target, series=None, position=0)


def _number_in(heading: Heading, series: Series | None) -> int | None:
    patches = series.patches if series is not None else ()
    for patch in patches:
        if patch.subject == heading.subject:
            return patch.number
    return heading.number if patches and heading.total == len(patches) else None


def place_series(data: bytes, target: Target, file: Path) -> Target:
    """Return the target for the series in *data*; the mails are kept in *file*.

    :param data: an mbox with all patches, or only the cover letter of ``target.series``.
    :raises SeriesError: when it is neither.
    """
    headings = read_headings(data)
    if any(heading.number for heading in headings):
        file.write_bytes(data)
        return dataclasses.replace(target, series=str(file))
    titles = [heading.subject for heading in headings]
    if target.series is not None and read_series(target.series).title in titles:
        return target
    raise SeriesError(
        f'the patches of "{titles[0]}" are not known' if titles else "there is no patch",
        hint="--series names them, or give an mbox with all of them, as from 'b4 am'",
    )


def tracked(target: Target, tracking: Mapping[str, object] | None, tree: Path) -> Target | None:
    """Return the target for the series of b4's review branch, ``None`` when there is none.

    :param tracking: what the file that :data:`TRACKING` names holds.
    :param tree: the git tree that b4 works in.
    """
    found = tracking.get("series") if tracking is not None else None
    if not isinstance(found, dict):
        return None
    first, change = found.get("first-patch-commit"), found.get("change-id")
    branch = f"{_REVIEW_BRANCH}{change}"
    if not first or git(tree, "rev-parse", "-q", "--verify", branch, check=False).returncode != 0:
        return None
    # b4 keeps its own data in a commit on top of the patches.
    return dataclasses.replace(
        target,
        kernel=KernelSpec(path=tree, base=f"{first}~1"),
        series=f"{first}~1..{branch}~1",
    )


def read_tracking(path: str | None) -> Mapping[str, object] | None:
    """Read b4's data about the series.

    :raises InputError: when it cannot be read.
    """
    if not path:
        return None
    try:
        found = json.loads(Path(path).read_text())
    except (OSError, ValueError) as error:
        raise InputError(f"{TRACKING}={path}: {error}") from error
    return found if isinstance(found, dict) else None


# -- what came of it -----------------------------------------------------------------------


def checks_of(
    results: Sequence[CellResult], subjects: Mapping[int, str], said: Sequence[str] = ()
) -> tuple[Check, ...]:
    """Return what is to be said about the cells of a patch or of a series.

    :param said: of which mails were taken.
    """
    found = [complaint for result in results for complaint in complaints(result)]
    applied = [r for r in results if r.status is not CellStatus.NOT_APPLIED]
    checks = [_apply(results, found, said)]
    if applied:
        checks.append(_build(applied, found))
    built = [result for result in applied if result.build is not None]
    if built:
        checks += [_boot(built), _tests(built, found, dict(subjects))]
    return tuple(checks)


def worst(checks: Sequence[Check]) -> Status:
    """Return the worst status."""
    statuses = {check.status for check in checks}
    return next(s for s in (Status.FAIL, Status.WARN, Status.PASS) if s in statuses)


def _check(
    tool: str,
    status: Status,
    summary: str,
    lines: Sequence[str] = (),
    complaints: Sequence[Complaint] = (),
) -> Check:
    return Check(
        tool=tool,
        status=status,
        summary=summary,
        complaints=tuple(complaints),
        lines=tuple(lines),
    )


def _apply(results: Sequence[CellResult], found: Sequence[Complaint], said: Sequence[str]) -> Check:
    bad = [item for item in found if item.outcome == CellStatus.NOT_APPLIED]
    if bad:
        return _check("apply", Status.FAIL, bad[0].message, said, bad)
    commits = {result.build.commit for result in results if result.build is not None}
    return _check("apply", Status.PASS, "applies", [*said, *sorted(commits)])


def _build(results: Sequence[CellResult], found: Sequence[Complaint]) -> Check:
    bad = [item for item in found if item.outcome == CellStatus.NOT_BUILT]
    if bad:
        return _check("build", Status.FAIL, bad[0].message, complaints=bad)
    builds = [result.build for result in results]
    if any(build is None for build in builds):
        lost = [result.message for result in results if result.build is None]
        return _check("build", Status.WARN, f"no verdict: {lost[0]}", lost)
    new = sorted({w for build in builds if build for w in build.new_warnings or ()})
    if new:
        return _check("build", Status.WARN, f"new warnings: {len(new)}", new)
    if any(build is not None and build.new_warnings is None for build in builds):
        return _check("build", Status.PASS, "builds; there is nothing to compare warnings with")
    return _check("build", Status.PASS, "builds without new warnings")


def _boot(results: Sequence[CellResult]) -> Check:
    tried = [(result, result.boot) for result in results if result.boot is not None]
    if not tried:
        return _check("boot", Status.WARN, "no test asked for a machine")
    bad = [(result, boot) for result, boot in tried if boot.outcome is not Boot.OK]
    if not bad:
        slowest = max(boot.seconds for _, boot in tried)
        return _check("boot", Status.PASS, f"boots in {duration(slowest)}")
    crashed = any(boot.outcome is Boot.CRASHED for _, boot in bad)
    lines = [
        f"position {position_of(result)}: {boot.outcome}: {boot.message}\n"
        f"    log: {result.directory / boot.machine}"
        for result, boot in bad
    ]
    status = Status.FAIL if crashed else Status.WARN
    return _check("boot", status, f"{bad[0][1].outcome}: {bad[0][1].message}", lines)


def _tests(
    results: Sequence[CellResult], found: Sequence[Complaint], subjects: dict[int, str]
) -> Check:
    tests = [test for result in results for test in result.tests]
    about = [item for item in found if item.test is not None]
    changes = [
        f"{t.from_position} -> {t.to_position}: {t.test}: {t.before} -> {t.after} ({t.profile})"
        for t in transitions(results, subjects)
    ]
    wrong = sum(item.verdict for item in about)
    lost = len(about) - wrong
    lost += sum(result.status is not CellStatus.TESTED for result in results)
    said = f"{len(tests)} tests, {sum(t.outcome is Outcome.PASSED for t in tests)} passed"
    said += f", {wrong or 'none'} unexpected" + (f", {lost} without a verdict" if lost else "")
    status = Status.FAIL if wrong else Status.WARN if lost or not tests else Status.PASS
    return _check("tests", status, said, changes, about)
