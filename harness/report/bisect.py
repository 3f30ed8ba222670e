# SPDX-License-Identifier: GPL-2.0-only
"""A bisection drawn: a line for each step, what was found with its evidence, the record."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from harness.base.text import duration
from harness.results.records import BisectRecord, PointRecord, StepRecord
from harness.run.cell import reproduce
from harness.search.bisect import Bisection, Point, Step


def step_line(step: Step) -> str:
    """Return one line about a step."""
    judgement = step.judgement
    seconds = "cached" if judgement.result.cached else duration(judgement.result.seconds)
    line = f"{step.point.name:20}  {judgement.verdict.value:10}  {seconds:>10}  "
    return f"{line}{judgement.reason or step.point.subject}"[:200]


def print_bisection(found: Bisection, console: Console) -> None:
    """Print the first patch and the evidence on both sides."""

    def say(text: str, style: str = "") -> None:
        console.print(Text(text, style=style), soft_wrap=True)

    old, new = found.before, found.after
    say(
        f"{', '.join(found.tests)} {old.judgement.verdict} up to {old.point.name} "
        f"and {new.judgement.verdict} from {new.point.name} on"
    )
    if len(found.first) == 1:
        (point,) = found.first
        say(f"first: {_described(point)}", "bold")
    else:
        say("first is one of these; those in between have no verdict:", "bold")
        for point in found.first:
            say(f"  {_described(point)}")
    for label, step in (("before", old), ("after", new)):
        say(f"{label}: {step.point.name} {step.judgement.verdict}")
        for name, value in _evidence(step):
            say(f"  {name}: {value}")


def _described(point: Point) -> str:
    commit = f" ({point.commit})" if point.commit is not None else ""
    return f'{point.name} "{point.subject}"{commit}'


def _evidence(step: Step) -> list[tuple[str, str]]:
    judgement = step.judgement
    found = [("message", judgement.reason)] if judgement.reason else []
    test = judgement.test
    if test is not None:
        found += [("splat", splat) for splat in test.splats]
        if test.console is not None:
            found.append(("console", str(judgement.result.directory / test.console)))
    elif judgement.result.log is not None:
        found.append(("log", str(judgement.result.log)))
    return [*found, ("run", reproduce(judgement.result.cell))]


def record_of(found: Bisection) -> BisectRecord:
    """Return what is written of a bisection."""
    candidates = tuple(_point_record(point) for point in found.first)
    return BisectRecord(
        tests=found.tests,
        first=candidates[0] if len(candidates) == 1 else None,
        candidates=candidates,
        before=_step_record(found.before),
        after=_step_record(found.after),
        steps=tuple(_step_record(step) for step in found.steps),
    )


def _point_record(point: Point) -> PointRecord:
    return PointRecord(position=_position(point), subject=point.subject, commit=point.commit)


def _position(point: Point) -> int | None:
    return point.target.position if point.target.series is not None else None


def _step_record(step: Step) -> StepRecord:
    judgement, test, point = step.judgement, step.judgement.test, step.point
    result = judgement.result
    console = test.console if test is not None else None
    return StepRecord(
        position=_position(point),
        subject=point.subject,
        commit=point.commit,
        verdict=judgement.verdict,
        reason=judgement.reason,
        message=test.message if test is not None else result.message,
        splats=test.splats if test is not None else (),
        console=str(result.directory / console) if console is not None else None,
        log=str(result.log) if result.log is not None else None,
        seconds=round(result.seconds, 1),
        cached=result.cached,
        reproduce=reproduce(result.cell),
    )
