# SPDX-License-Identifier: GPL-2.0-only
"""Which kernel hands over to which: what pairs come to, what is stated, and how it is shown."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path

import pytest
from cells import TARGET, outcome_of, result_of
from rich.console import Console
from schemas import complaints as wrong_with
from shipped import SUITE

from harness.base.errors import ExitCode, SpecError
from harness.base.kernel_name import target_named
from harness.base.settings import SETTING, settings_of
from harness.report.compat import pair_line, print_table, to_markdown
from harness.report.markdown import to_markdown as summary_of
from harness.report.page import render
from harness.results.compat import (
    CompatResults,
    Fate,
    PairResult,
    Refused,
    fate_of,
    read_compat,
    read_stated,
)
from harness.results.evidence import read_evidence
from harness.results.form import write_file
from harness.results.records import CellStatus
from harness.results.results import TestResult
from harness.run.cell import pytest_argv
from harness.search.compat import pair_cell, pair_name, pair_result, pairs_of

OLD, NEW = "7.0.13:11", "7.2.13"
SAYS = "KHO: setup: handover FDT (0x1) is incompatible with 'kho-v4': 1"
NAME_OF_REFUSAL = f"{Refused.__module__}.{Refused.__qualname__}"
HOSTILE = "</pre><script>document.title='owned'</script>"


def came_to(outcome: str, name: str = "test_x.py::test_a", **change: object) -> TestResult:
    made = dataclasses.replace(outcome_of(name, outcome, SAYS), splats=())
    return dataclasses.replace(made, **change)  # type: ignore[arg-type]


REFUSED = came_to("failed", exception=NAME_OF_REFUSAL)
LOST = came_to("failed", exception="AssertionError")
CARRIED = came_to("passed", "test_x.py::test_b")
CRASHED = came_to("crashed", message="the second kernel died")


def pair(
    *tests: TestResult,
    ends: tuple[str, str] = (OLD, NEW),
    stated: Fate | None = None,
    status: CellStatus = CellStatus.TESTED,
) -> PairResult:
    cell = pair_cell(ends, TARGET)
    said = {ends[0]: {ends[1]: stated}} if stated is not None else {}
    directory = Path("/results") / pair_name(ends)
    return pair_result(ends, result_of(cell, *tests, status=status, directory=directory), said)


def results(*pairs: PairResult) -> CompatResults:
    return CompatResults(
        profile="default", releases={OLD: "7.0.13-p11", NEW: "7.2.13-p00"}, pairs=pairs
    )


# -- kernels in one word ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "kernel", "series", "position", "extra"),
    [
        ("7.2.13", "7.2.13", "none", "0", None),
        ("7.0.13:11", "7.0.13", SUITE.series, "11", None),
        ("7.0.13:0+token-reused", "7.0.13", SUITE.series, "0", "34-token-reused.patch"),
        ("7.3.4+token-reused", "7.3.4", "none", "0", "34-token-reused.patch"),
        ("7.0.13:11+flb-retrieve-once", "7.0.13", SUITE.series, "11", "flb-retrieve-once.patch"),
        ("/srv/linux-1+2.tar.xz:3", "/srv/linux-1+2.tar.xz", SUITE.series, "3", None),
        ("/srv/a:b/linux", "/srv/a:b/linux", "none", "0", None),
    ],
)
def test_kernel_is_named_in_one_word(
    text: str, kernel: str, series: str, position: str, extra: str | None
) -> None:
    found = settings_of(target_named(text, TARGET))
    assert (found["kernel"], found["series"], found["position"]) == (kernel, series, position)
    assert Path(found.get("extra", "")).name == (extra or "")


def test_name_keeps_what_is_not_of_the_kernel() -> None:
    like = dataclasses.replace(TARGET, profile="debug", accel="tcg", jobs=3)
    found = target_named(NEW, like)
    assert (found.profile, found.accel, found.jobs) == ("debug", "tcg", 3)
    based = dataclasses.replace(like, kernel=dataclasses.replace(like.kernel, base="v7"))
    assert target_named(NEW, based).kernel.base is None


def test_kernel_may_have_several_patches_on_top() -> None:
    found = target_named("7.0.13:11+finish-checks-reserved+token-reused", TARGET)
    names = [path.name for path in found.extra]
    assert names == ["finish-checks-reserved.patch", "34-token-reused.patch"]


def test_patch_that_is_not_there_is_bad_input() -> None:
    with pytest.raises(SpecError, match="no mutant and no fix 'unheard-of'"):
        target_named("7.0.13:11+unheard-of", TARGET)


# -- pairs -----------------------------------------------------------------------------------


def test_each_kernel_hands_over_to_each_and_to_itself_once() -> None:
    assert pairs_of(["a", "b", "a"], ["a", "c"]) == (
        ("a", "a"),
        ("a", "c"),
        ("b", "a"),
        ("b", "c"),
    )


def test_cell_of_a_pair_asks_tests_of_two_kernels_to_go_there() -> None:
    argv = pytest_argv(pair_cell((OLD, NEW), TARGET), Path("/results"))
    assert argv[-3:-1] == ["-m", "two_kernels"]
    assert f"{SETTING['to'].plugin_option}={NEW}" in argv
    assert f"{SETTING['position'].plugin_option}=11" in argv


def test_pair_with_a_kernel_that_is_none_is_bad_input_before_anything_runs() -> None:
    with pytest.raises(SpecError, match="no mutant"):
        pair_cell((OLD, "7.0.13:11+unheard-of"), TARGET)


def test_name_of_a_pair_is_one_of_a_job() -> None:
    assert pair_name(("7.0.13:11+token-reused", "7.2.13")) == ("7-0-13-11-token-reused-to-7-2-13")


def test_pair_can_be_run_again_by_its_line() -> None:
    line = pair(LOST).reproduce
    assert line.startswith("harness run --position 11 ")
    assert line.endswith(f"--to {NEW} -- -m two_kernels")


# -- fates -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("test", "fate"),
    [
        (CARRIED, Fate.CARRIED),
        (REFUSED, Fate.REFUSED),
        (LOST, Fate.LOST),
        (CRASHED, Fate.CRASHED),
        (came_to("error"), Fate.NO_VERDICT),
        (came_to("skipped"), None),
        # A refusal with a splat is not clean, nor is a hand-over.
        (dataclasses.replace(REFUSED, splats=("WARNING: x",)), Fate.CRASHED),
    ],
)
def test_fate_of_a_test(test: TestResult, fate: Fate | None) -> None:
    assert fate_of(test) is fate


def test_refusal_is_called_as_results_call_it() -> None:
    assert fate_of(came_to("failed", exception=NAME_OF_REFUSAL)) is Fate.REFUSED


@pytest.mark.parametrize(
    ("tests", "fate", "message"),
    [
        ((CARRIED,), Fate.CARRIED, ""),
        ((CARRIED, REFUSED), Fate.REFUSED, SAYS),
        ((REFUSED, CRASHED), Fate.CRASHED, "the second kernel died"),
        ((came_to("error"), LOST), Fate.LOST, SAYS),
        ((), Fate.NO_VERDICT, "no test had anything to ask"),
    ],
)
def test_pair_comes_to_the_worst_of_its_tests(
    tests: tuple[TestResult, ...], fate: Fate, message: str
) -> None:
    found = pair(*tests)
    assert (found.fate, found.message) == (fate, message)


def test_message_goes_without_the_type_of_what_was_raised() -> None:
    # As pytest has it.
    said = f"{NAME_OF_REFUSAL}: {SAYS}"
    assert pair(dataclasses.replace(REFUSED, message=said)).message == SAYS


def test_pair_with_a_kernel_that_does_not_build_has_no_verdict() -> None:
    found = pair(status=CellStatus.NOT_BUILT)
    assert (found.fate, found.unexpected) == (Fate.NO_VERDICT, True)
    assert found.message == "does not build: this is why"


# -- what is stated --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("test", "stated", "unexpected"),
    [
        (CARRIED, Fate.CARRIED, False),
        (REFUSED, Fate.CARRIED, True),
        (CARRIED, Fate.REFUSED, True),
        (LOST, Fate.LOST, False),
        # Kernels promise each other nothing, but for that they say so.
        (CARRIED, None, False),
        (REFUSED, None, False),
        (LOST, None, True),
        (CRASHED, None, True),
    ],
)
def test_pair_that_comes_to_something_else_is_a_failure(
    test: TestResult, stated: Fate | None, unexpected: bool
) -> None:
    found = pair(test, stated=stated)
    assert found.unexpected is unexpected
    code = ExitCode.TESTS_FAILED if unexpected else ExitCode.PASSED
    assert results(found).exit_code is code


def test_kernel_has_to_take_over_from_itself() -> None:
    assert pair(REFUSED, ends=(NEW, NEW)).unexpected
    assert not pair(CARRIED, ends=(NEW, NEW)).unexpected


def test_trouble_of_the_host_is_told_from_a_verdict() -> None:
    trouble = pair(came_to("error"), stated=Fate.CARRIED)
    assert results(trouble).exit_code is ExitCode.INFRASTRUCTURE
    assert results(trouble, pair(LOST)).exit_code is ExitCode.TESTS_FAILED


def test_stated_fates_are_read(tmp_path: Path) -> None:
    file = tmp_path / "compat.yaml"
    file.write_text("7.0.13:0:\n  7.2.13: refused\n  a+b: lost\n")
    assert read_stated(file) == {"7.0.13:0": {"7.2.13": Fate.REFUSED, "a+b": Fate.LOST}}
    assert read_stated(None) == {}


@pytest.mark.parametrize("word", ["no verdict", "fine"])
def test_stated_fate_that_is_none_is_refused(tmp_path: Path, word: str) -> None:
    file = tmp_path / "compat.yaml"
    file.write_text(f"a:\n  b: {word}\n")
    with pytest.raises(SpecError, match=f"compat.yaml:2: '{word}' is none of carried"):
        read_stated(file)


def test_shipped_suite_states_what_each_of_its_kernels_does_with_itself() -> None:
    stated = read_stated(SUITE.compat)
    assert [stated[name].get(name) for name in stated] == [Fate.CARRIED] * len(stated)
    for name in {name for row in (stated, *stated.values()) for name in row}:
        target_named(name, TARGET)


# -- what is written -------------------------------------------------------------------------


def test_json_is_as_its_schema_says_and_is_read_back(tmp_path: Path) -> None:
    made = results(pair(CARRIED, REFUSED, stated=Fate.LOST), pair(CRASHED, ends=(NEW, OLD)))
    assert wrong_with("compat", made.to_json()) == []
    write_file(tmp_path / "compat.json", made.to_json())
    read = read_compat(tmp_path / "compat.json")
    assert read == dataclasses.replace(made, pairs=read.pairs)
    assert [item.fate for item in read.pairs] == [Fate.REFUSED, Fate.CRASHED]


def test_json_of_another_schema_is_refused(tmp_path: Path) -> None:
    write_file(tmp_path / "compat.json", results().to_json() | {"schema": 99})
    with pytest.raises(SpecError, match="schema 99"):
        read_compat(tmp_path / "compat.json")


# -- what is shown ---------------------------------------------------------------------------


def printed(made: CompatResults) -> str:
    console = Console(file=io.StringIO(), width=120)
    print_table(made, console)
    stream = console.file
    assert isinstance(stream, io.StringIO)
    return stream.getvalue()


def test_table_has_a_row_for_who_hands_over_and_marks_what_is_unexpected() -> None:
    made = results(pair(CARRIED, ends=(OLD, OLD)), pair(LOST), pair(REFUSED, ends=(NEW, OLD)))
    lines = [line.split() for line in printed(made).splitlines()]
    assert [OLD, "carried", "lost!"] in lines
    assert [NEW, "refused", "-"] in lines
    assert made.summary in printed(made)
    assert made.summary == "3 pairs: 1 carried, 1 refused, 1 lost; 1 unexpected"


def test_unexpected_pair_tells_what_to_read_and_to_run() -> None:
    found = pair(LOST, stated=Fate.CARRIED)
    text = printed(results(found))
    assert f"{OLD} -> {NEW}: lost, stated: carried" in text
    assert f"test_x.py::test_a: lost, {SAYS}" in text
    assert f"run: {found.reproduce}" in text


def test_line_of_a_pair_says_what_it_came_to_and_why() -> None:
    assert str(pair_line(pair(REFUSED))).startswith(f"{OLD} -> {NEW}: refused, {SAYS}")


def test_markdown_has_the_table_and_what_kernels_said() -> None:
    piped = dataclasses.replace(REFUSED, message="a | b")
    again = dataclasses.replace(REFUSED, message="c")
    pairs = (pair(CARRIED, ends=(OLD, OLD)), pair(CARRIED, piped, again))
    text = to_markdown(results(*pairs), "So it was.")
    assert f"| from \\ to | {OLD} | {NEW} |\n| --- | --- | --- |\n" in text
    assert f"| {OLD} | carried | refused |" in text
    assert f"| {OLD} | {NEW} | refused | 2 of 3 | a \\| b |\n" in text
    assert f"- {OLD}: `7.0.13-p11`\n" in text
    assert f"{OLD} | carried" not in text.partition("## What was said")[2]


def test_page_has_the_table_and_nothing_becomes_markup(tmp_path: Path) -> None:
    hostile = dataclasses.replace(LOST, message=HOSTILE)
    write_file(tmp_path / "compat.json", results(pair(hostile), pair(CARRIED)).to_json())
    text = render(tmp_path, {})
    assert "Which kernel hands over to which" in text
    assert "1 not as it should be" in text
    assert HOSTILE not in text
    assert "document.title=" in text


def test_refusals_are_no_failures_of_the_runs_they_are_in(tmp_path: Path) -> None:
    write_file(tmp_path / "compat.json", results(pair(REFUSED)).to_json())
    (evidence,) = read_evidence(tmp_path)
    assert evidence.kernels == ()
    text = summary_of((evidence,))
    assert text.startswith("## all as it should be\n\n| from | to |")
    assert "| 7.0.13:11 | 7.2.13 | refused | carried or refused | KHO: setup:" in text


def test_summary_of_a_job_says_what_is_to_be_looked_at(tmp_path: Path) -> None:
    write_file(tmp_path / "compat.json", results(pair(LOST, stated=Fate.CARRIED)).to_json())
    text = summary_of(read_evidence(tmp_path))
    assert text.startswith("## 1 thing to look at\n")
    assert "| 7.0.13:11 | 7.2.13 | **lost** | carried | " in text
    assert "kernels: 0" not in text
