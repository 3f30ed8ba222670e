# SPDX-License-Identifier: GPL-2.0-only
"""Which patch, or which commit, changes what a test does.

A test is judged by the behaviour that it asks for.  What has no verdict (it does not build or boot,
or the machine was lost) is passed over, as ``git bisect skip`` does.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from harness.base.errors import HarnessError, InfrastructureError, InputError, SpecError
from harness.base.spec import KernelSpec, Target
from harness.kernel.apply import AppliedSeries
from harness.kernel.source import git
from harness.results.results import Outcome
from harness.run.cell import CellStatus, reproduce
from harness.run.judgement import Judgement, Verdict

# -- the search ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Narrowed:
    """Where the verdict changes.

    :param before: the last index with the old verdict.
    :param after: the first one known to have the new verdict; everything between the two was
        passed over.
    """

    before: int
    after: int

    @property
    def candidates(self) -> range:
        """The indices that may be the first with the new verdict."""
        return range(self.before + 1, self.after + 1)


def narrow(low: int, high: int, at_low: Verdict, probe: Callable[[int], Verdict]) -> Narrowed:
    """Search between two indices whose verdicts differ; the ends are not asked again.

    In the middle first; an index without a verdict is replaced by its nearest neighbour.  Every
    index is asked at most once.

    :param at_low: the verdict at *low*; that at *high* is the opposite.
    :param probe: returns the verdict at an index.
    """
    skipped: set[int] = set()
    while True:
        left = [index for index in range(low + 1, high) if index not in skipped]
        if not left:
            return Narrowed(before=low, after=high)
        middle = (low + high) // 2
        index = min(left, key=lambda candidate: (abs(candidate - middle), candidate))
        verdict = probe(index)
        if verdict is Verdict.NONE:
            skipped.add(index)
        elif verdict is at_low:
            low = index
        else:
            high = index


# -- what is searched ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A kernel on the way: a position, or a commit.

    :param name: as messages call it.
    :param subject: of the patch or commit that makes the difference to the one before.
    """

    name: str
    subject: str
    commit: str | None
    target: Target


def position_points(applied: AppliedSeries, target: Target) -> tuple[Point, ...]:
    """Return every position of a series, also those that cannot be had; index is position."""
    commits = {position.number: position.commit for position in applied.positions}
    patches = applied.series.patches if applied.series is not None else ()
    subjects = ["base", *(patch.subject for patch in patches)]
    return tuple(
        Point(
            name=f"position {number}",
            subject=subject,
            commit=commits.get(number),
            target=dataclasses.replace(target, position=number),
        )
        for number, subject in enumerate(subjects)
    )


def commit_points(tree: Path, revisions: str, target: Target) -> tuple[Point, ...]:
    """Return the commits of ``A..B``, A first, along first parents.

    :raises SpecError: when it is no range of *tree*, or B does not descend from A.
    """
    first, dots, last = revisions.partition("..")
    if not dots or not first or not last or last.startswith("."):
        raise SpecError(f"--range {revisions!r} is no range", hint="such as v7.0..HEAD")
    if git(tree, "merge-base", "--is-ancestor", first, last, check=False).returncode != 0:
        raise SpecError(
            f"{tree}: {last} does not descend from {first}, or there is no such revision",
            hint=f"git -C {tree} log --oneline {revisions}",
        )
    words = ("log", "--first-parent", "--format=%H %s")
    lines = git(tree, *words, "-1", first).stdout.splitlines()
    lines += reversed(git(tree, *words, revisions).stdout.splitlines())
    if len(lines) < 2:
        raise SpecError(f"{tree}: there is no commit in {revisions}")
    commits = [line.partition(" ")[::2] for line in lines]
    return tuple(
        Point(
            name=f"commit {commit[:12]}",
            subject=subject,
            commit=commit,
            target=dataclasses.replace(
                target, kernel=KernelSpec(path=tree, base=commit), series=None, position=0
            ),
        )
        for commit, subject in commits
    )


# -- bisecting -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One kernel that was asked."""

    point: Point
    judgement: Judgement


@dataclass(frozen=True, slots=True, kw_only=True)
class Bisection:
    """What a bisection found.

    :param first: what may be the first with the new verdict; one, if nothing was in the way.
    :param before: the last with the old verdict.
    :param after: the first known to have the new one.
    :param steps: everything that was asked, in order.
    """

    tests: tuple[str, ...]
    first: tuple[Point, ...]
    before: Step
    after: Step
    steps: tuple[Step, ...]


def bisect(
    points: Sequence[Point],
    tests: Sequence[str],
    ask: Callable[[Point], Judgement],
    *,
    good: int | None = None,
    bad: int | None = None,
    on_step: Callable[[Step], None] = lambda _step: None,
) -> Bisection:
    """Find the first of *points* where the verdict changes; both ends are proved first.

    :param good: the index of the end that should pass; ``None`` is the other end.
    :param bad: the index of the end that should fail; without either the ends are the first and
        the last point, whichever way it goes.
    :raises InputError: when the ends have the same verdict, another one than was said, or none.
    :raises InfrastructureError: when an end has none for trouble of the host.
    """
    low, high = _ends(len(points), good, bad)
    steps: dict[int, Step] = {}

    def probe(index: int) -> Verdict:
        if index not in steps:
            steps[index] = Step(point=points[index], judgement=ask(points[index]))
            on_step(steps[index])
        return steps[index].judgement.verdict

    for index in (low, high):
        said = {good: Verdict.PASSES, bad: Verdict.FAILS}.get(index)
        if probe(index) is Verdict.NONE or (said is not None and probe(index) is not said):
            raise _bad_end(steps[index], said)
    if probe(low) is probe(high):
        raise InputError(
            f"{tests[0]} {probe(low)} at both ends, {points[low].name} and {points[high].name}",
            hint="--good and --bad name other ends; --tries asks a flaky test more often",
            log=steps[high].judgement.result.directory,
        )
    found = narrow(low, high, probe(low), probe)
    return Bisection(
        tests=tuple(tests),
        first=tuple(points[index] for index in found.candidates),
        before=steps[found.before],
        after=steps[found.after],
        steps=tuple(steps.values()),
    )


def _ends(count: int, good: int | None, bad: int | None) -> tuple[int, int]:
    for name, index in (("good", good), ("bad", bad)):
        if index is not None and not 0 <= index < count:
            raise SpecError(
                f"--{name} {index}: there is no such position", hint=f"0 to {count - 1}"
            )
    given = good if good is not None else bad
    if good is not None and bad is not None:
        ends = sorted((good, bad))
    elif given is not None:
        ends = [given, count - 1] if given < count - 1 else [0, given]
    else:
        ends = [0, count - 1]
    if ends[0] == ends[1]:
        raise SpecError("both ends are the same", hint="--good and --bad name two positions")
    return ends[0], ends[1]


def _bad_end(step: Step, said: Verdict | None) -> HarnessError:
    judgement = step.judgement
    if judgement.verdict is Verdict.NONE:
        trouble = judgement.result.status is CellStatus.ERROR or (
            judgement.test is not None and judgement.test.outcome is Outcome.ERROR
        )
        kind = InfrastructureError if trouble else InputError
        return kind(
            f"the end at {step.point.name} has no verdict: {judgement.reason}",
            hint="--good and --bad name other ends",
            log=judgement.result.log or judgement.result.directory,
        )
    word = "good" if said is Verdict.PASSES else "bad"
    return InputError(
        f"{step.point.name} was said to be {word}, but the test {judgement.verdict} there",
        hint=judgement.reason or None,
        log=judgement.result.directory,
    )


# -- saying what was found -------------------------------------------------------------------


def step_line(step: Step) -> str:
    """Return one line about a step."""
    judgement = step.judgement
    seconds = "cached" if judgement.result.cached else f"{judgement.result.seconds:.0f} s"
    line = f"{step.point.name:20}  {judgement.verdict.value:10}  {seconds:>6}  "
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


def to_json(found: Bisection) -> dict[str, Any]:
    """Return the documented JSON form."""
    return {
        "schema": 1,
        "tests": list(found.tests),
        "first": _point_json(found.first[0]) if len(found.first) == 1 else None,
        "candidates": [_point_json(point) for point in found.first],
        "before": _step_json(found.before),
        "after": _step_json(found.after),
        "steps": [_step_json(step) for step in found.steps],
    }


def _point_json(point: Point) -> dict[str, Any]:
    position = point.target.position if point.target.series is not None else None
    return {"position": position, "subject": point.subject, "commit": point.commit}


def _step_json(step: Step) -> dict[str, Any]:
    judgement, test = step.judgement, step.judgement.test
    result = judgement.result
    console = test.console if test is not None else None
    return {
        **_point_json(step.point),
        "verdict": judgement.verdict.value,
        "reason": judgement.reason,
        "message": test.message if test is not None else result.message,
        "splats": list(test.splats) if test is not None else [],
        "console": str(result.directory / console) if console is not None else None,
        "log": str(result.log) if result.log is not None else None,
        "seconds": round(result.seconds, 1),
        "cached": result.cached,
        "reproduce": reproduce(result.cell),
    }
