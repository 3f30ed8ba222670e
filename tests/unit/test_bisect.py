# SPDX-License-Identifier: GPL-2.0-only
"""The search for the first patch with another verdict; the cells are made up, none was run."""

from __future__ import annotations

import dataclasses
import itertools
import math
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from cells import TARGET, TEST, result
from rich.console import Console
from schemas import complaints as wrong_with
from shipped import SERIES

from harness.base.errors import InfrastructureError, InputError, SeriesError, SpecError
from harness.kernel.apply import AppliedSeries, Position
from harness.kernel.series import read_series
from harness.kernel.source import SourceTree, git
from harness.report.bisect import print_bisection, record_of, step_line
from harness.results.form import from_plain
from harness.results.records import BisectRecord, CellStatus, Verdict, record_json
from harness.run.judgement import Judgement, judge
from harness.search.bisect import (
    Bisection,
    Point,
    Step,
    bisect,
    commit_points,
    narrow,
    position_points,
)

PASSES, FAILS, NONE = Verdict.PASSES, Verdict.FAILS, Verdict.NONE
DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "results.md"


def opposite(verdict: Verdict) -> Verdict:
    return FAILS if verdict is PASSES else PASSES


# -- the search ------------------------------------------------------------------------------


def search(
    size: int, first: int, old: Verdict, skipped: frozenset[int] = frozenset()
) -> tuple[range, list[int]]:
    """Search among *size* kernels of which *first* is the first with the new verdict."""
    asked: list[int] = []

    def probe(index: int) -> Verdict:
        assert 0 < index < size - 1, "an end is asked again"
        assert index not in asked, "asked twice"
        asked.append(index)
        if index in skipped:
            return NONE
        return old if index < first else opposite(old)

    return narrow(0, size - 1, old, probe).candidates, asked


@pytest.mark.parametrize("old", [PASSES, FAILS])
@pytest.mark.parametrize("size", [2, 3, 4, 5, 8, 12, 13, 100])
def test_search_finds_every_first_in_few_steps(size: int, old: Verdict) -> None:
    for first in range(1, size):
        candidates, asked = search(size, first, old)
        assert list(candidates) == [first]
        assert len(asked) <= math.ceil(math.log2(size))


@pytest.mark.parametrize("old", [PASSES, FAILS])
def test_search_passes_over_every_set_of_skipped(old: Verdict) -> None:
    for size in range(2, 9):
        inner = range(1, size - 1)
        for count in range(len(inner) + 1):
            for skipped in map(frozenset, itertools.combinations(inner, count)):
                for first in range(1, size):
                    candidates, _ = search(size, first, old, skipped)
                    assert first in candidates
                    # Nothing stays in doubt but what has no verdict, and the one behind it.
                    assert set(candidates) - {candidates[-1]} <= skipped


def test_search_with_one_skipped_takes_its_neighbour() -> None:
    candidates, asked = search(12, 10, FAILS, frozenset({5}))
    assert list(candidates) == [10]
    assert asked[:2] == [5, 4]


# -- bisecting -------------------------------------------------------------------------------


def points(count: int) -> list[Point]:
    return [
        Point(
            name=f"position {number}",
            subject=f"mm: {number}",
            commit=f"c{number}",
            target=dataclasses.replace(TARGET, position=number),
        )
        for number in range(count)
    ]


def asking(verdicts: dict[int, str], asked: list[int] | None = None):
    """Return what to ask with: position -> outcome of the test, or a status."""

    def ask(point: Point) -> Judgement:
        position = point.target.position
        assert position is not None
        if asked is not None:
            asked.append(position)
        said = verdicts[position]
        if said in list(CellStatus):
            return judge(result(status=CellStatus(said)), [TEST])
        return judge(result((TEST, said)), [TEST])

    return ask


def outcomes(text: str) -> dict[int, str]:
    """Read ``ppf-f``: p passed, f failed, - does not build."""
    return {
        number: {"p": "passed", "f": "failed", "-": CellStatus.NOT_BUILT.value}[letter]
        for number, letter in enumerate(text)
    }


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("pppppfffffff", [5]),
        ("fffffffffppp", [9]),
        ("pf", [1]),
        ("fffff-ffffpp", [10]),
        ("fffff-pppppp", [5, 6]),
        ("p---f", [1, 2, 3, 4]),
    ],
)
def test_bisect_finds_the_first(text: str, first: list[int]) -> None:
    found = bisect(points(len(text)), [TEST], asking(outcomes(text)))
    assert [point.target.position for point in found.first] == first


def test_bisect_proves_both_ends_first_and_tells_each_step() -> None:
    asked: list[int] = []
    told: list[str] = []
    found = bisect(
        points(12),
        [TEST],
        asking(outcomes("ppppppppffff"), asked),
        on_step=lambda step: told.append(step.point.name),
    )
    assert asked[:2] == [0, 11]
    assert told == [f"position {number}" for number in asked]
    assert [step.point.name for step in found.steps] == told
    assert (found.before.point.name, found.after.point.name) == ("position 7", "position 8")


@pytest.mark.parametrize(
    ("good", "bad", "ends"),
    [(None, None, [0, 11]), (11, 3, [3, 11]), (10, None, [10, 11]), (11, None, [0, 11])],
)
def test_bisect_between_the_ends_that_were_given(
    good: int | None, bad: int | None, ends: list[int]
) -> None:
    asked: list[int] = []
    text = "fffffffffffp" if good != 10 else "fffffffffppf"
    bisect(points(12), [TEST], asking(outcomes(text), asked), good=good, bad=bad)
    assert asked[:2] == ends


def test_bisect_of_what_changes_nothing_is_refused() -> None:
    with pytest.raises(InputError, match="passes at both ends, position 0 and position 3"):
        bisect(points(4), [TEST], asking(outcomes("pppp")))


@pytest.mark.parametrize(
    ("good", "bad", "said"),
    [
        (0, 3, "position 0 was said to be good, but the test fails there"),
        (3, 2, "position 2 was said to be bad, but the test passes there"),
    ],
)
def test_bisect_with_an_end_that_is_not_as_said_is_refused(good: int, bad: int, said: str) -> None:
    with pytest.raises(InputError, match=said):
        bisect(points(4), [TEST], asking(outcomes("fppp")), good=good, bad=bad)


@pytest.mark.parametrize(("good", "bad"), [(0, 0), (4, None), (None, 9), (-1, None)])
def test_bisect_between_ends_that_are_none_is_refused(good: int | None, bad: int | None) -> None:
    with pytest.raises(SpecError):
        bisect(points(4), [TEST], asking(outcomes("fppp")), good=good, bad=bad)


def test_bisect_with_an_end_that_does_not_build_is_refused() -> None:
    with pytest.raises(InputError, match="end at position 0 has no verdict: does not build"):
        bisect(points(4), [TEST], asking(outcomes("-ppp")))


@pytest.mark.parametrize("trouble", ["error", CellStatus.ERROR.value])
def test_bisect_with_an_end_that_was_lost_is_trouble_of_the_host(trouble: str) -> None:
    verdicts = outcomes("fppp") | {3: trouble}
    with pytest.raises(InfrastructureError, match="end at position 3 has no verdict"):
        bisect(points(4), [TEST], asking(verdicts))


# -- what is searched ------------------------------------------------------------------------


def test_points_of_a_series_are_all_its_positions(tmp_path: Path) -> None:
    source = SourceTree(
        repo=tmp_path, base="b", tree="t", version="7.0", label="l", public=False, lock="x"
    )
    at = [Position(number=n, subject="s", commit=f"c{n}", tree="t") for n in range(4)]
    applied = AppliedSeries(
        source=source,
        series=read_series(str(SERIES)),
        support=(),
        positions=tuple(at),
        broken=SeriesError("patch 4 does not apply"),
    )
    found = position_points(applied, TARGET)
    assert [point.target.position for point in found] == list(range(12))
    assert [point.commit for point in found] == ["c0", "c1", "c2", "c3", *[None] * 8]
    assert found[1].subject == "liveupdate: Safely print untrusted strings"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    repo = tmp_path / "linux"
    git(tmp_path, "init", "-q", "-b", "main", repo)
    for number in range(4):
        words = ("commit", "-q", "--allow-empty", "-m", f"mm: {number}")
        git(repo, "-c", "user.name=A", "-c", "user.email=a@example.com", *words)
    return repo


def test_points_of_a_range_start_with_its_base(tree: Path) -> None:
    found = commit_points(tree, "HEAD~2..HEAD", TARGET)
    assert [point.subject for point in found] == ["mm: 1", "mm: 2", "mm: 3"]
    assert [point.commit for point in found] == [point.target.kernel.base for point in found]
    assert {(p.target.series, p.target.position) for p in found} == {(None, 0)}


@pytest.mark.parametrize(
    "text", ["HEAD", "HEAD..", "..HEAD", "HEAD~1...HEAD", "HEAD..HEAD~1", "v1..HEAD", "HEAD..HEAD"]
)
def test_range_that_is_none_is_refused(tree: Path, text: str) -> None:
    with pytest.raises(SpecError):
        commit_points(tree, text, TARGET)


# -- saying it -------------------------------------------------------------------------------


@pytest.fixture
def found() -> Bisection:
    return bisect(points(4), [TEST], asking(outcomes("pp-f") | {3: "crashed"}))


def keys(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield key
            yield from keys(item)
    elif isinstance(value, list):
        for item in value:
            yield from keys(item)


def test_json_is_as_documented(found: Bisection) -> None:
    data = record_json(record_of(found))
    assert from_plain(BisectRecord, data) == record_of(found)
    assert wrong_with("bisect", data) == []
    assert data["first"] is None
    assert [item["position"] for item in data["candidates"]] == [2, 3]
    assert data["after"]["splats"] == ["BUG: x"]
    assert len(data["steps"]) == len(found.steps)
    named = set(re.findall(r'"(\w+)"', DOCUMENT.read_text()))
    assert set(keys(data)) - named == set()


def test_candidates_and_evidence_are_printed(
    found: Bisection, capsys: pytest.CaptureFixture[str]
) -> None:
    print_bisection(found, Console(width=200))
    out = capsys.readouterr().out
    assert "passes up to position 1 and fails from position 3 on" in out
    assert "one of these" in out
    assert 'position 2 "mm: 2"' in out
    assert "splat: BUG: x" in out
    assert "console: /results/console/x.log" in out
    assert "run: harness run --position 3" in out


def test_line_of_a_step() -> None:
    step = Step(point=points(4)[3], judgement=judge(result((TEST, "failed"), cached=True), [TEST]))
    words = ["position 3", "fails", "cached", "failed: this is why"]
    assert re.split(r"\s{2,}", step_line(step)) == words
