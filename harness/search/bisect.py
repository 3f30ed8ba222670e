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

from harness.base.errors import HarnessError, InfrastructureError, InputError, SpecError
from harness.base.spec import KernelSpec, Target
from harness.kernel.apply import AppliedSeries
from harness.kernel.source import git
from harness.results.records import CellStatus, Verdict
from harness.results.results import Outcome
from harness.run.judgement import Judgement

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
