# SPDX-License-Identifier: GPL-2.0-only
"""What nobody expected: judged, and grouped by what it has in common."""

from __future__ import annotations

import pytest
from cells import cell_at, outcome_of, result_of

from harness.report.problems import about, first_seen, where
from harness.results.complaint import Complaint, cause_of, problems_of
from harness.results.form import from_plain, to_plain
from harness.results.results import Standing
from harness.search.matrix import complaints


def found_at(position: int, profile: str = "default", **tests: tuple[str, str]) -> list[Complaint]:
    """Return the complaints about tests that came to an outcome with a message."""
    made = (outcome_of(name, *said) for name, said in tests.items())
    return list(complaints(result_of(cell_at(position, profile), *made)))


@pytest.mark.parametrize(
    ("text", "judge", "standing"),
    [
        ("passed", "desired", Standing.GOOD),
        ("failed", "desired", Standing.BAD),
        ("crashed", "desired", Standing.BAD),
        ("skipped", "desired", Standing.GOOD),
        ("error!", "desired", Standing.NO_VERDICT),
        ("failed", "expected", Standing.GOOD),
        ("failed!", "expected", Standing.BAD),
        ("passed!", "expected", Standing.BAD),
        ("error!", "expected", Standing.NO_VERDICT),
    ],
)
def test_standing(text: str, judge: str, standing: Standing) -> None:
    test = outcome_of("test_x", text)
    assert test.standing(judge) is standing
    assert test.is_bad(judge) is (standing is Standing.BAD)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("kernel BUG at mm/x.c:12!", "kernel BUG at mm/x.c:31!"),
        ("oops at ffff888012345678", "oops at ffff8880deadbeef"),
        ("oops at 0xdead", "oops at 0xbeef"),
        ("assert 3 == 4\nmore", "assert 4 == 5\nother"),
    ],
)
def test_numbers_and_addresses_make_no_other_cause(one: str, other: str) -> None:
    assert cause_of(one) == cause_of(other)


@pytest.mark.parametrize(
    ("one", "other"), [("refused", "accepted"), ("deadbeefs", "feedbeads"), ("a 1", "b 1")]
)
def test_words_make_another_cause(one: str, other: str) -> None:
    assert cause_of(one) != cause_of(other)


def test_complaints_are_grouped_by_test_and_cause() -> None:
    wrong = [
        item
        for position in range(6, 12)
        for item in found_at(
            position,
            a=("failed!", f"leaked {position} pages\nat length"),
            b=("failed!", f"leaked {position} pages" if position < 9 else "hangs"),
        )
    ]
    problems = problems_of(wrong)
    assert [(p.first.test, where(p)) for p in problems] == [
        ("a", "positions 6 to 11, default"),
        ("b", "positions 6 to 8, default"),
        ("b", "positions 9 to 11, default"),
    ]
    assert first_seen(problems[0], {6: "mm: leak"}) == "first seen at patch 6: mm: leak"
    assert sum(len(problem.complaints) for problem in problems) == len(wrong)


def test_cases_of_a_test_with_one_cause_are_one_problem() -> None:
    cases = {f"t.py::test_x[{n}]": ("failed!", f"assert {n} == 3") for n in range(3)}
    cases["t.py::test_x[9]"] = ("failed!", "AssertionError: assert 9 == 3")
    cases["t.py::test_x[10]"] = ("failed!", "hangs")
    several, one = problems_of([*found_at(0, **cases), *found_at(1, **cases)])
    assert about(several) == "t.py::test_x, 4 cases"
    assert where(several) == "positions 0 to 1, default"
    assert about(one) == "t.py::test_x[10]"


def test_what_speaks_against_the_kernel_comes_first() -> None:
    wrong = [*found_at(0, a=("error!", "no QEMU")), *found_at(1, b=("failed!", "why"))]
    assert [problem.first.test for problem in problems_of(wrong)] == ["b", "a"]


def test_another_outcome_is_another_problem() -> None:
    wrong = [*found_at(0, a=("failed!", "why")), *found_at(1, a=("crashed!", "why"))]
    assert len(problems_of(wrong)) == 2


@pytest.mark.parametrize(
    ("places", "said", "seen"),
    [
        ([(3, "default")], "position 3, default", ""),
        ([(0, "default"), (1, "default")], "positions 0 to 1, default", "first seen at the base"),
        (
            [(3, "default"), (3, "debug"), (5, "default"), (5, "debug")],
            "positions 3, 5, debug and default",
            "first seen at patch 3",
        ),
        (
            [(7, "debug"), (3, "default"), (4, "default")],
            "positions 3 to 4, default; position 7, debug",
            "first seen at patch 3",
        ),
        ([(3, "default"), (3, "debug")], "position 3, debug and default", ""),
    ],
)
def test_where_it_is(places: list[tuple[int, str]], said: str, seen: str) -> None:
    wrong = [item for place in places for item in found_at(*place, a=("failed!", "why"))]
    (problem,) = problems_of(wrong)
    assert (where(problem), first_seen(problem, {})) == (said, seen)


def test_json_form_can_be_read() -> None:
    (item,) = found_at(3, a=("failed!", "why"))
    assert item.log is not None
    assert from_plain(Complaint, to_plain(item)) == item
