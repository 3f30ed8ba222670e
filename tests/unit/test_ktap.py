# SPDX-License-Identifier: GPL-2.0-only
"""KTAP is read as the kernel's tests print it, and never better than it is."""

from __future__ import annotations

import pytest

from harness.results.ktap import parse_ktap

KTAP = """\
TAP version 13
1..3
# Starting 3 tests from 1 test cases.
#  RUN           dev.open ...
#            OK  dev.open
ok 1 dev.open
# a.c:12:close:Expected 0 (0) == err (-1)
not ok 2 dev.close
ok 3 dev.other # SKIP no device
# FAILED: 2 / 3 tests passed.
"""


def outcomes(text: str) -> list[tuple[str, str]]:
    return [(result.name, result.outcome) for result in parse_ktap(text)]


def test_ktap_results() -> None:
    assert outcomes(KTAP) == [
        ("dev.open", "passed"),
        ("dev.close", "failed"),
        ("dev.other", "skipped"),
    ]


def test_ktap_failure_carries_its_diagnostics() -> None:
    assert "Expected 0 (0) == err (-1)" in parse_ktap(KTAP)[1].detail


def test_ktap_without_a_plan_is_an_error() -> None:
    assert outcomes("ok 1 a\n") == [("a", "passed"), ("plan", "error")]


def test_ktap_that_was_cut_off_is_an_error() -> None:
    assert outcomes("1..2\nok 1 a\n")[-1] == ("plan", "error")


def test_ktap_with_more_results_than_planned_is_an_error() -> None:
    assert outcomes("1..1\nok 1 a\nok 2 b\n")[-1] == ("plan", "error")


def test_ktap_plan_may_come_last() -> None:
    assert outcomes("ok 1 a\n1..1\n") == [("a", "passed")]


def test_ktap_skip_carries_its_reason() -> None:
    (result,) = parse_ktap("1..1\nok 1 a # SKIP no device\n")
    assert (result.outcome, result.detail, result.ok) == ("skipped", "no device", True)


def test_ktap_nested_failure_is_told() -> None:
    text = "1..1\n    1..1\n    not ok 1 x\nnot ok 1 a\n"
    assert outcomes(text) == [("x", "failed"), ("a", "failed")]


def test_ktap_bail_out_is_an_error() -> None:
    assert ("bail-out", "error") in outcomes("1..2\nok 1 a\nBail out! no memory\n")


def test_ktap_of_nothing_is_an_error() -> None:
    assert outcomes("") == [("plan", "error")]


def test_ktap_nested_results_do_not_count_for_the_plan() -> None:
    text = "1..1\n    1..2\n    ok 1 x\n    ok 2 y\nok 1 a\n"
    assert outcomes(text) == [("x", "passed"), ("y", "passed"), ("a", "passed")]


@pytest.mark.parametrize(
    ("line", "name", "outcome"),
    [
        ("ok 1 a # SKIP no device", "a", "skipped"),
        ("ok 1 a # skip no device", "a", "skipped"),
        ("ok 1 - a #SKIP no device", "a", "skipped"),
        ("ok 1 a # Skip: no device", "a", "skipped"),
        ("ok 1 a # SKIPPED no device", "a", "skipped"),
        ("ok 1 a # SKIP", "a", "skipped"),
        ("ok 1 # SKIP a", "a", "skipped"),
        ("not ok 1 a # SKIP no device", "a", "skipped"),
        ("ok 1 a\\# SKIP", "a\\# SKIP", "passed"),
        ("ok 1 a # XFAIL as known", "a", "passed"),
        ("ok 1 # XFAIL a", "a", "passed"),
        ("ok 1 a # XPASS", "a", "passed"),
        # The kernel's own parser takes these as failed.
        ("not ok 1 a # XFAIL as known", "a", "failed"),
        ("not ok 1 a # TODO later", "a", "failed"),
        ("not ok 1 a # skip no device", "a", "failed"),
        ("ok 1 a # TIMEOUT 30 seconds", "a", "failed"),
        ("ok 1 a # ERROR no memory", "a", "failed"),
        ("not ok 1 a # TIMEOUT 30 seconds", "a", "failed"),
        ("not ok 1", "", "failed"),
        ("ok 1 a#b c", "a#b c", "passed"),
        ("ok 1 a # of no directive", "a", "passed"),
        ("ok 1 - - a", "- a", "passed"),
        ("ok 1 a: command = -1, flags = 0", "a: command = -1, flags = 0", "passed"),
    ],
)
def test_ktap_result_line(line: str, name: str, outcome: str) -> None:
    assert outcomes(f"1..1\n{line}\n") == [(name, outcome)]


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("1..3\nok 1 a\nok 3 c\n", "3 planned, 2 reported"),
        ("1..2\nok 1 a\nok 3 c\n", "test number 3 where 2 was due"),
        ("1..2\nok 1 a\nok 1 a\n", "test number 1 where 2 was due"),
        ("1..1\nok - a\n", "a result has no number"),
        ("1..1\nnot ok - a\n", "a result has no number"),
        ("1..0\n", "1..0"),
        ("1..0 # SKIP no device\n", "it plans no test: SKIP no device"),
        ("KTAP version 2\n1..1\nok 1 a\n", "KTAP version 2"),
        ("1..1\n1..1\nok 1 a\n", "2 plan lines"),
        ("1..1\n    1..2\n    ok 1 x\nok 1 a\n", "2 planned, 1 reported"),
        ("1..1\n    1..1\n    ok 1 x\n    ok 2 y\nok 1 a\n", "1 planned, 2 reported"),
        ("1..1\n    1..0\nok 1 a\n", "1..0"),
        ("1..1\n    # Subtest: a\nok 1 a\n", "there is no test"),
        ("1..1\n    # Subtest: b\n    1..1\n    ok 1 x\nok 1 a\n", "the result of this test is"),
        ("1..1\n    # Subtest: a\n    1..1\n    ok 1 x\n", "the result of this test is missing"),
        (
            "1..2\n    # Subtest: a\n    1..1\n        1..3\n        ok 1 x\n    ok 1 y\nok 1 a\n",
            "3 ",
        ),
        ("1..1\n    Bail out! no memory\nok 1 a\n", "no memory"),
        ("1..1\n        Bail out!\nok 1 a\n", "Bail out!"),
        ("1..1\n# Bail out! no memory\nok 1 a\n", "no memory"),
        ("1..1\nok 1 a\nKTAP version 1\n1..2\nok 1 b\n", "2 planned, 1 reported"),
    ],
)
def test_ktap_that_is_wrong_says_so(text: str, wrong: str) -> None:
    errors = [result for result in parse_ktap(text) if result.outcome == "error"]
    assert any(wrong in error.detail for error in errors), errors


def test_ktap_error_of_a_nested_plan_names_the_test() -> None:
    text = "1..1\n    1..2\n    ok 1 x\nok 1 luo\n"
    assert ("plan of luo", "error") in outcomes(text)


NESTED = """\
KTAP version 1
1..2
    KTAP version 1
    # Subtest: luo
    1..2
        KTAP version 1
        # Subtest: each
        ok 1 one
        ok 2 two
    ok 1 each
    ok 2 other # SKIP no device
ok 1 luo
ok 2 kho
"""
FLAT = [
    ("one", "passed"),
    ("two", "passed"),
    ("each", "passed"),
    ("other", "skipped"),
    ("luo", "passed"),
    ("kho", "passed"),
]


def behind(prefix: str, text: str = NESTED) -> str:
    return "".join(prefix + line for line in text.splitlines(keepends=True))


@pytest.mark.parametrize(
    "prefix",
    [
        "",
        "[    1.250000] ",
        "<6>[    1.250000] ",
        "[    1.250000][    T1] ",
        "     4.125  [    1.250000] ",
        "   ",
        "kunit: ",
    ],
)
def test_ktap_behind_what_a_console_prints_before_it(prefix: str) -> None:
    assert outcomes(behind(prefix)) == FLAT


def test_ktap_between_messages_of_the_kernel() -> None:
    lines = behind("[    1.250000] ").splitlines(keepends=True)
    noise = "[    1.260000] random: crng init done\n"
    assert outcomes("".join(noise + line for line in lines)) == FLAT


def test_ktap_in_lines_that_a_message_did_not_end() -> None:
    lines = behind("[    1.250000] ").splitlines(keepends=True)
    assert outcomes("".join("loading luo ... " + line for line in lines)) == FLAT


def test_ktap_in_color_has_none() -> None:
    (result,) = parse_ktap("1..1\n\x1b[31mnot ok 1 \x1b]0;mine\x07a\x1b[0m\n")
    assert (result.name, result.outcome) == ("a", "failed")


def test_ktap_of_several_modules_one_after_the_other() -> None:
    assert outcomes(NESTED + NESTED) == FLAT + FLAT


def test_ktap_plan_may_be_indented_less_than_its_tests() -> None:
    """As in ``test_is_test_passed-failure-nested.log`` of the kernel's own parser."""
    text = "1..1\n    KTAP version 1\n    1..1\n        ok 1 x\nok 1 a\n"
    assert outcomes(text) == [("x", "passed"), ("a", "passed")]


def test_ktap_failure_without_a_number_is_a_failure() -> None:
    assert ("a", "failed") in outcomes("1..1\nnot ok - a\n")


def test_ktap_failure_carries_what_kunit_says_of_it() -> None:
    text = (
        "1..1\n    # Subtest: luo\n    1..1\n"
        "    # a: EXPECTATION FAILED at luo_kunit.c:12\n    Expected x == 1, but\n        x == 2\n"
        "    not ok 1 a\nnot ok 1 luo\n"
    )
    assert "x == 2" in parse_ktap(text)[0].detail
