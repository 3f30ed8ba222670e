# SPDX-License-Identifier: GPL-2.0-only
"""Markers and a position become one expectation; sessions are judged by it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from patches import mail, mbox

from harness.base.errors import SpecError
from harness.results.expectation import EVERYWHERE, Expected, beyond, resolve

pytest_plugins = ["pytester"]


SUBJECTS = {"mm: five": 5, "mm: six": 6}
"""What the subjects of some patches are numbered."""


def at(position: int) -> Callable[[int | str], bool]:
    def has_patch(which: int | str) -> bool:
        if isinstance(which, str) and which not in SUBJECTS:
            raise SpecError(f"no patch {which!r}")
        return (SUBJECTS[which] if isinstance(which, str) else which) <= position

    return has_patch


def has(name: str) -> bool:
    """Say which features there are."""
    if name not in ("there", "absent"):
        raise SpecError(f"no feature {name!r}")
    return name == "there"


def fails_before(*args: object, **kwargs: object) -> pytest.Mark:
    return pytest.mark.fails_before(*args, **kwargs).mark


def only_from(*args: object, **kwargs: object) -> pytest.Mark:
    return pytest.mark.only_from(*args, **kwargs).mark


def test_without_markers_it_passes_everywhere() -> None:
    assert resolve([], at(0), has) is EVERYWHERE
    assert resolve([pytest.mark.fresh_machine.mark], at(0), has) is EVERYWHERE


@pytest.mark.parametrize(
    ("position", "outcome"),
    [(0, Expected.FAILED), (4, Expected.FAILED), (5, Expected.PASSED), (11, Expected.PASSED)],
)
def test_fails_before_flips_at_its_patch(position: int, outcome: Expected) -> None:
    assert resolve([fails_before(5)], at(position), has).outcome is outcome


@pytest.mark.parametrize(
    ("position", "outcome"), [(4, Expected.FAILED), (5, Expected.PASSED), (11, Expected.PASSED)]
)
def test_patch_is_named_by_its_subject(position: int, outcome: Expected) -> None:
    assert resolve([fails_before("mm: five")], at(position), has).outcome is outcome


def test_subject_and_number_go_together() -> None:
    marks = [fails_before(8), only_from("mm: six")]
    assert resolve(marks, at(5), has).outcome is Expected.SKIPPED
    assert resolve(marks, at(6), has).outcome is Expected.FAILED


def test_subject_that_no_patch_has_is_an_error() -> None:
    with pytest.raises(SpecError, match="no patch 'five'"):
        resolve([fails_before("five")], at(0), has)


@pytest.mark.parametrize(("position", "outcome"), [(1, Expected.EITHER), (2, Expected.PASSED)])
def test_sometimes_accepts_either_before_and_only_before(position: int, outcome: Expected) -> None:
    assert resolve([fails_before(2, sometimes=True)], at(position), has).outcome is outcome


@pytest.mark.parametrize(
    ("position", "outcome"),
    [(5, Expected.SKIPPED), (6, Expected.FAILED), (8, Expected.PASSED)],
)
def test_what_does_not_exist_yet_cannot_fail(position: int, outcome: Expected) -> None:
    assert resolve([fails_before(8), only_from(6)], at(position), has).outcome is outcome


def test_why_is_said_in_words() -> None:
    assert resolve([fails_before(5)], at(4), has).why == "fails before patch 5"
    assert resolve([fails_before(5, sometimes=True)], at(4), has).why == "may fail before patch 5"
    assert resolve([only_from(6)], at(4), has).why == "only from patch 6"
    assert resolve([fails_before("mm: five")], at(4), has).why == "fails before patch mm: five"


def test_splat_that_is_not_named_is_not_explained() -> None:
    want = resolve([fails_before(5, splat="KASAN: .*-use-after-free")], at(0), has)
    assert want.explains(["BUG: KASAN: slab-use-after-free in f"])
    assert not want.explains(["BUG: KASAN: slab-use-after-free in f", "WARNING: at g"])
    assert not resolve([fails_before(5)], at(0), has).explains(["WARNING: at g"])
    assert EVERYWHERE.explains([])


@pytest.mark.parametrize(
    "mark",
    [
        fails_before(),
        fails_before(5.0),
        fails_before(None),
        fails_before(5, splats="x"),
        only_from(6, 7),
    ],
)
def test_marker_that_is_used_wrongly_is_an_error(mark: pytest.Mark) -> None:
    with pytest.raises(SpecError, match=mark.name):
        resolve([mark], at(0), has)


# -- sessions --------------------------------------------------------------------------------

TESTS = """\
import pytest

@pytest.mark.fails_before(5)
def test_fixed_by_five():
    assert {position} >= {fixed}

@pytest.mark.fails_before(5, sometimes=True)
def test_race():
    assert {position} >= 5

@pytest.mark.only_from(6)
def test_only_from_six():
    pass

def test_everywhere():
    pass
"""


def judged(
    pytester: pytest.Pytester, position: int, judge: str, *, fixed: int = 5
) -> tuple[dict[str, int], int]:
    """Run the tests at a position; return what pytest counts, and the exit code."""
    pytester.makepyfile(test_it=TESTS.format(position=position, fixed=fixed))
    pytester.makeconftest(
        f"from harness.run.pipeline import Pipeline\n"
        f"Pipeline.has_patch = lambda self, number: number <= {position}\n"
    )
    done = pytester.runpytest_subprocess("-p", "no:cacheprovider", f"--harness-judge={judge}")
    return done.parseoutcomes(), done.ret


@pytest.mark.parametrize(
    ("position", "judge", "fixed", "counts", "status"),
    [
        (0, "desired", 5, {"failed": 2, "skipped": 1, "passed": 1}, 1),
        (0, "expected", 5, {"xfailed": 2, "skipped": 1, "passed": 1}, 0),
        (5, "expected", 5, {"passed": 3, "skipped": 1}, 0),
        (11, "desired", 5, {"passed": 4}, 0),
        (11, "expected", 5, {"passed": 4}, 0),
        # Fixed one patch too early, and one too late.
        (4, "expected", 4, {"failed": 1, "xfailed": 1, "skipped": 1, "passed": 1}, 1),
        (5, "expected", 6, {"failed": 1, "skipped": 1, "passed": 2}, 1),
    ],
)
def test_session_is_judged(
    pytester: pytest.Pytester,
    position: int,
    judge: str,
    fixed: int,
    counts: dict[str, int],
    status: int,
) -> None:
    assert judged(pytester, position, judge, fixed=fixed) == (counts, status)


def test_unknown_judge_is_bad_usage(pytester: pytest.Pytester) -> None:
    done = pytester.runpytest_subprocess("-p", "no:cacheprovider", "--harness-judge=somebody")
    assert done.ret == pytest.ExitCode.USAGE_ERROR
    assert "desired or expected" in done.stderr.str()


@pytest.mark.parametrize(
    ("series", "subject", "counts"),
    [
        ("own", None, {"failed": 2, "skipped": 1, "passed": 1}),
        ("v5.mbx", "liveupdate: safely print untrusted STRINGS", {"failed": 2, "skipped": 1}),
        ("other.mbx", "mm: something else", {"xfailed": 2, "skipped": 1}),
        ("none", None, {"xfailed": 2, "skipped": 1}),
    ],
)
def test_what_the_series_is_to_bring_is_asked_of_no_other(
    pytester: pytest.Pytester, series: str, subject: str | None, counts: dict[str, int]
) -> None:
    pytester.makepyfile(test_it=TESTS.format(position=0, fixed=5))
    pytester.makeconftest(
        "from harness.run.pipeline import Pipeline\n"
        "Pipeline.has_patch = lambda self, number: False\n"
    )
    words = [] if series == "own" else [f"--harness-series={series}"]
    if subject is not None:
        mbox(pytester.path / series, mail(f"[PATCH] {subject}"))
    done = pytester.runpytest_subprocess("-p", "no:cacheprovider", *words)
    assert done.parseoutcomes() == counts | {"passed": 1}


BEYOND = """\
import pytest

@pytest.mark.beyond(reason="nobody promised it", weight="medium")
def test_more():
    assert {works}, "it does not do more"
"""


@pytest.mark.parametrize(
    ("works", "words", "status", "said"),
    [
        (False, (), 0, "1 findings"),
        (False, ("--harness-judge=expected",), 0, "1 findings"),
        (False, ("--harness-strict=yes",), 1, "1 failed"),
        (True, (), 0, "1 passed"),
    ],
)
def test_finding_beyond_the_promise_fails_nothing_unless_strict(
    pytester: pytest.Pytester, works: bool, words: tuple[str, ...], status: int, said: str
) -> None:
    pytester.makepyfile(test_it=BEYOND.format(works=works))
    done = pytester.runpytest_subprocess("-p", "no:cacheprovider", *words)
    text = done.stdout.str()
    assert (done.ret, said in text) == (status, True), text
    assert ("FINDING (medium)" in text) is (said == "1 findings")


@pytest.mark.parametrize(
    "mark",
    [
        pytest.mark.beyond().mark,
        pytest.mark.beyond(reason="", weight="low").mark,
        pytest.mark.beyond(reason="why", weight="heavy").mark,
    ],
)
def test_beyond_takes_a_reason_and_a_weight(mark: pytest.Mark) -> None:
    with pytest.raises(SpecError, match="beyond"):
        beyond([mark])
    assert beyond([fails_before(1)]) is None


# -- features --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mark", "outcome", "why"),
    [
        (pytest.mark.feature("there").mark, Expected.PASSED, ""),
        (pytest.mark.feature("absent").mark, Expected.SKIPPED, "only with the feature absent"),
        (pytest.mark.without_feature("absent").mark, Expected.PASSED, ""),
        (
            pytest.mark.without_feature("there").mark,
            Expected.SKIPPED,
            "only without the feature there",
        ),
    ],
)
def test_feature_says_whether_there_is_anything_to_ask(
    mark: pytest.Mark, outcome: Expected, why: str
) -> None:
    want = resolve([fails_before(1), mark], at(1), has)
    assert (want.outcome, want.why) == (outcome, why)


@pytest.mark.parametrize(
    "mark",
    [
        pytest.mark.feature("thear").mark,
        pytest.mark.feature().mark,
        pytest.mark.without_feature(7).mark,
        pytest.mark.feature("there", "absent").mark,
    ],
)
def test_feature_that_there_is_not_is_an_error(mark: pytest.Mark) -> None:
    with pytest.raises(SpecError, match="feature"):
        resolve([mark], at(0), has)
