# SPDX-License-Identifier: GPL-2.0-only
"""Results keep their facts: as values, as documented JSON, and as a table."""

from __future__ import annotations

import dataclasses
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import runs
from rich.console import Console
from schemas import complaints

from harness.base.errors import SpecError
from harness.base.spec import PROJECT_ROOT
from harness.base.suite import load_suite
from harness.liveupdate.results import KEY, UpdateResult, update_of
from harness.report.columns import run_column
from harness.report.evidence import commands_of
from harness.report.extras import facts_of
from harness.report.page import write_report
from harness.report.sections import load_sections
from harness.report.text import (
    lack_lines,
    print_results,
    reroll_lines,
    series_lines,
    tree_lines,
)
from harness.results.evidence import read_evidence
from harness.results.facts import (
    ExtraFacts,
    FixFacts,
    LeftOutFacts,
    PatchFacts,
    RecognisedFacts,
    SeriesFacts,
    SuitePatchFacts,
    SupportFacts,
)
from harness.results.results import (
    SCHEMA,
    Boot,
    BootResult,
    Outcome,
    RunResults,
    TestResult,
    read_results,
)

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "results.md"


UPDATE = UpdateResult(
    test="test_live_update.py::test_many",
    from_release="7.0.13-p0",
    to_release="7.0.13-p1",
    from_boot_id="47feec6f-38d2-4ce4-8a14-0db44db23b11",
    to_boot_id="987fefe7-b56c-49be-a140-5cfc124952a4",
    qemu_pid=4711,
    number=12,
    preserved=65,
    compared=64,
    verified=63,
    stages={
        "preserve": 4.223,
        "load": 7.932,
        "blackout": 24.482,
        "retrieve": 3.461,
        "verify": 1.61,
        "finish": 1.525,
    },
)


@pytest.fixture
def results() -> RunResults:
    """Make one of everything, as a run of the shipped series gives it."""
    return runs.run_of(
        kernel={
            "base": "a3056634b55b",
            "commit": "d19808a8ca35",
            "patchset": ("1" * 64,),
            "release": "7.0.13-p1-debug",
            "build_seconds": 16.2,
            "warnings": 3,
            "new_warnings": ("kernel/a.c: unused variable",),
            "toolchain": "gcc 12.2.0",
        },
        series=SeriesFacts(
            name="module-unload",
            title="Fix module unloading",
            origin="series/module-unload",
            taken="v2, 2 patches; part 1 of v1",
            left_out=(LeftOutFacts(what="v3, part 1 of 2", why="part 2 of 2 missing"),),
            position=1,
            total=2,
            extra=(ExtraFacts(subject="One more thing", file="more.patch"),),
            support=(
                SupportFacts(
                    subject="Export the interface",
                    reason="modules need it",
                    applied=True,
                    why_left_out="",
                ),
                SupportFacts(
                    subject="Unpoison the area",
                    reason="false reports",
                    applied=False,
                    why_left_out="the base has it",
                ),
            ),
            patches=(
                PatchFacts(
                    position=1,
                    subject="Print strings safely",
                    commit="49d5bb642de1",
                    already=False,
                    recognised=None,
                ),
                PatchFacts(
                    position=2,
                    subject="Protect the list",
                    commit="5d0c1ffee000",
                    already=False,
                    recognised=None,
                ),
            ),
            suite=(
                SuitePatchFacts(
                    number=1,
                    subject="Print strings safely",
                    has=True,
                    recognised=RecognisedFacts(
                        by="subject",
                        name="1",
                        subject="Print strings safely",
                        same_change=True,
                        ambiguous=(),
                    ),
                ),
            ),
        ),
        profile="debug",
        machine={"accel_reason": "KVM does not work here: there is no /dev/kvm"},
        tests=(
            TestResult(
                id="test_boot.py::test_boot[kexec]",
                outcome=Outcome.PASSED,
                seconds=27.98,
                known_issues=("BUG: KASAN: known",),
                console="console/test_boot.log",
            ),
            TestResult(
                id="test_module.py::test_idle",
                outcome=Outcome.CRASHED,
                seconds=1.23456,
                message="the kernel [died]\nsecond line",
                splats=("WARNING: kernel/a.c at f",),
                exception="AssertionError",
            ),
        ),
        boots=(
            BootResult(
                release="7.0.13-p1-debug",
                outcome=Boot.OK,
                seconds=2.4,
                message="",
                machine="machines/001",
            ),
        ),
        builds={"0": "a" * 32, "11": "b" * 32},
        extras={
            KEY: (UPDATE.to_item(),),
            "drawn_lots": ({"test": "test_lots.py::test_x", "lot": "[the short one]"},),
        },
        seconds=61.0,
    )


# -- JSON ------------------------------------------------------------------------------------


def test_results_read_back_give_the_same_json(results: RunResults, tmp_path: Path) -> None:
    results.write(tmp_path / "results.json")
    again = read_results(tmp_path / "results.json")
    assert again.to_json() == results.to_json()


def test_results_read_back_have_values_of_their_types(results: RunResults, tmp_path: Path) -> None:
    results.write(tmp_path / "results.json")
    again = read_results(tmp_path / "results.json")
    assert again.tests[1].outcome is Outcome.CRASHED
    assert again.tests[1].splats == ("WARNING: kernel/a.c at f",)
    assert again.extras == results.extras
    assert [update_of(item) for item in again.extras[KEY]] == [UPDATE]


def test_write_makes_its_directory_and_leaves_nothing_else(
    results: RunResults, tmp_path: Path
) -> None:
    results.write(tmp_path / "new" / "results.json")
    names = sorted(path.name for path in (tmp_path / "new").iterdir())
    assert names == ["results.json", "results.ktap"]


def test_json_says_its_schema(results: RunResults) -> None:
    assert results.to_json()["schema"] == SCHEMA


def test_json_rounds_seconds(results: RunResults) -> None:
    assert results.to_json()["tests"][1]["seconds"] == 1.235


def test_counts_name_every_outcome(results: RunResults) -> None:
    assert results.counts == {
        "passed": 1,
        "failed": 0,
        "crashed": 1,
        "error": 0,
        "skipped": 0,
        "total": 2,
    }


def test_json_is_of_its_schema(results: RunResults) -> None:
    assert complaints("results", results.to_json()) == []


def test_other_schema_is_refused(results: RunResults, tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    path.write_text(json.dumps(results.to_json() | {"schema": SCHEMA + 1}))
    with pytest.raises(SpecError, match=f"schema {SCHEMA + 1}"):
        read_results(path)


@pytest.mark.parametrize("text", ["", "[]", "{}", f'{{"schema": {SCHEMA}}}'])
def test_file_that_holds_no_results_is_refused_by_name(text: str, tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    path.write_text(text)
    with pytest.raises(SpecError, match=re.escape(str(path))):
        read_results(path)


def test_missing_file_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="absent"):
        read_results(tmp_path / "absent.json")


@pytest.mark.parametrize("part", ["kernel", "tests", "boots"])
def test_key_that_was_added_within_the_schema_is_no_obstacle(
    part: str, results: RunResults, tmp_path: Path
) -> None:
    data = results.to_json()
    holder = data[part] if isinstance(data[part], dict) else data[part][0]
    holder["added_later"] = 1
    (tmp_path / "results.json").write_text(json.dumps(data))
    assert read_results(tmp_path / "results.json").counts == results.counts


def test_key_that_was_added_to_a_live_update_is_no_obstacle() -> None:
    assert update_of(UPDATE.to_item() | {"added_later": 1}) == UPDATE


def test_live_update_is_of_its_schema() -> None:
    assert complaints("live_updates", [UPDATE.to_item()]) == []


def test_live_update_rounds_seconds() -> None:
    exact = dataclasses.replace(UPDATE, stages={"load": 1.23456})
    assert exact.to_item()["stages"] == {"load": 1.235}


# -- the document ----------------------------------------------------------------------------


def keys(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield key
            yield from keys(item)
    elif isinstance(value, list):
        for item in value:
            yield from keys(item)


def test_document_names_every_key(results: RunResults) -> None:
    named = set(re.findall(r'"(\w+)"', DOCUMENT.read_text()))
    results = dataclasses.replace(results, extras={KEY: results.extras[KEY]})
    assert set(keys(results.to_json())) - named == set()


def test_document_names_every_outcome() -> None:
    text = DOCUMENT.read_text()
    assert " | ".join(outcome.value for outcome in Outcome) in text


def test_document_is_of_this_schema() -> None:
    assert f"## results.json, schema {SCHEMA}\n" in DOCUMENT.read_text()


# -- the table -------------------------------------------------------------------------------


def printed(results: RunResults, directory: Path | None = None) -> str:
    stream = io.StringIO()
    sections = load_sections(load_suite(PROJECT_ROOT))
    print_results(results, Console(file=stream, width=160), sections, directory=directory)
    return stream.getvalue()


@pytest.mark.parametrize(
    "fact",
    [
        "Linux 7.0.13 (linux-source-7.0)",
        "1 of 2 patches applied",
        "7.0.13-p1-debug, profile debug, 16 s, 3 warnings, 1 of them new",
        "compiler  gcc 12.2.0",
        "QEMU 7.2.22, tcg (KVM does not work here)",
        "left out: the base has it",
        "taken: v2, 2 patches; part 1 of v1",
        "left out: v3, part 1 of 2: part 2 of 2 missing",
        "test_boot.py::test_boot[kexec]",
        "the kernel [died]",
        "7.0.13-p0 -> 7.0.13-p1",
        "47feec6f -> 987fefe7",
        "63/64",
        "24.48 s",
        "drawn lots",
        "[the short one]",
        "known issue seen: BUG: KASAN: known",
        "1 passed, 1 crashed in 1 min 01 s",
    ],
)
def test_summary_has(fact: str, results: RunResults) -> None:
    assert fact in printed(results)


@pytest.mark.parametrize(
    ("subject", "state"),
    [("Print strings safely", "applied"), ("Protect the list", "not applied")],
)
def test_summary_tells_applied_patches_from_others(
    subject: str, state: str, results: RunResults
) -> None:
    (line,) = (line for line in printed(results).splitlines() if subject in line)
    assert line.split(subject)[1].strip() == state


def test_summary_of_a_cached_build_without_warnings(results: RunResults) -> None:
    kernel = dataclasses.replace(results.kernel, cached=True, warnings=0, new_warnings=None)
    text = printed(dataclasses.replace(results, kernel=kernel))
    assert "from the cache, 0 warnings" in text
    assert "of them new" not in text


def test_summary_without_a_series(results: RunResults) -> None:
    text = printed(dataclasses.replace(results, series=runs.NO_SERIES))
    assert "patches" not in text


@pytest.mark.parametrize(
    ("compared", "verified", "said"),
    [(62, 62, "62/62"), (62, 61, "61/62"), (0, 0, "-")],
    ids=["all", "not-all", "none"],
)
def test_summary_counts_what_the_tests_compared(
    results: RunResults, compared: int, verified: int, said: str
) -> None:
    update = dataclasses.replace(UPDATE, compared=compared, verified=verified)
    text = printed(dataclasses.replace(results, extras={KEY: (update.to_item(),)}))
    (line,) = (line for line in text.splitlines() if "47feec6f" in line)
    assert line.split()[-3:] == [said, "24.48", "s"]


def test_summary_of_no_tests_says_so(results: RunResults) -> None:
    text = printed(dataclasses.replace(results, tests=(), extras={}))
    assert "no tests ran in 1 min 01 s" in text


def test_summary_tells_known_bugs_and_findings_from_what_failed(results: RunResults) -> None:
    failed = TestResult(id="a", outcome=Outcome.FAILED, seconds=1.0, unexpected=True)
    tests = (
        failed,
        dataclasses.replace(failed, id="b", bug="a-fix", unexpected=False),
        dataclasses.replace(failed, id="c", bug="a-fix", unexpected=False),
        dataclasses.replace(failed, id="d", beyond="asks more", weight="low", finding=True),
        TestResult(id="e", outcome=Outcome.PASSED, seconds=1.0),
    )
    said = printed(dataclasses.replace(results, tests=tests))
    assert "\n1 passed, 1 failed; 2 with 1 known bug; 1 found beyond the promise" in said


def test_live_update_of_many_clones_is_told_once(results: RunResults) -> None:
    other = dataclasses.replace(UPDATE, to_boot_id="11111111-b56c-49be-a140-5cfc124952a4")
    items = tuple(update.to_item() for update in (UPDATE, UPDATE, other, UPDATE))
    said = printed(dataclasses.replace(results, extras={"live_updates": items}))
    assert said.count("47feec6f -> 987fefe7") == said.count("47feec6f -> 11111111") == 1


def test_summary_of_known_bugs_alone_begins_with_a_count(results: RunResults) -> None:
    shown = TestResult(id="a", outcome=Outcome.FAILED, seconds=1.0, unexpected=False, bug="a-fix")
    assert "\n0 passed; 1 with 1 known bug" in printed(dataclasses.replace(results, tests=(shown,)))


def test_summary_ends_with_the_directory(results: RunResults, tmp_path: Path) -> None:
    assert printed(results, tmp_path).rstrip().endswith(f"report: {tmp_path}")


@pytest.mark.parametrize(
    ("judge", "outcome", "unexpected", "line"),
    [
        ("desired", Outcome.PASSED, False, "ok 1 t.py::a"),
        ("desired", Outcome.FAILED, True, "not ok 1 t.py::a"),
        ("desired", Outcome.CRASHED, True, "not ok 1 t.py::a"),
        ("desired", Outcome.SKIPPED, False, "ok 1 t.py::a # SKIP"),
        ("desired", Outcome.ERROR, True, "ok 1 t.py::a # SKIP no verdict"),
        ("expected", Outcome.FAILED, False, "ok 1 t.py::a # XFAIL"),
        ("expected", Outcome.PASSED, True, "not ok 1 t.py::a"),
        ("expected", Outcome.ERROR, True, "ok 1 t.py::a # SKIP no verdict"),
    ],
)
def test_ktap_has_a_line_for_each_test(
    results: RunResults,
    judge: str,
    outcome: Outcome,
    unexpected: bool,
    line: str,
    tmp_path: Path,
) -> None:
    test = TestResult(id="t.py::a", outcome=outcome, seconds=0.1, unexpected=unexpected)
    found = dataclasses.replace(results, judge=judge, tests=(test,))
    found.write(tmp_path / "results.json")
    assert (tmp_path / "results.ktap").read_text() == f"KTAP version 1\n1..1\n{line}\n"


def test_tests_that_were_asked_again_have_the_later_outcome(results: RunResults) -> None:
    first = results
    lost = dataclasses.replace(first.tests[1], outcome=Outcome.ERROR, message="QEMU ended")
    first = dataclasses.replace(first, tests=(first.tests[0], lost))
    found = dataclasses.replace(
        lost, outcome=Outcome.PASSED, message="", console="console/test_idle.log"
    )
    # One that has a verdict ran again beside it.
    beside = dataclasses.replace(first.tests[0], outcome=Outcome.FAILED, message="this time")
    both = first.with_later(dataclasses.replace(first, tests=(beside, found)), "again")
    assert both.tests[0] == first.tests[0]
    assert both.tests[1].outcome is Outcome.PASSED
    assert both.tests[1].message == "no verdict at first: QEMU ended"
    assert both.tests[1].console == "again/console/test_idle.log"
    assert [boot.machine for boot in both.boots] == ["machines/001", "again/machines/001"]
    assert both.seconds == 2 * first.seconds
    assert both.extras == {key: (*items, *items) for key, items in first.extras.items()}


def test_items_of_tests_that_were_asked_again_are_kept(results: RunResults) -> None:
    other = dataclasses.replace(results, extras={"other": ({"n": 1},)})
    both = results.with_later(other, "again")
    assert both.extras == {**results.extras, "other": ({"n": 1},)}


def test_nothing_is_shown_of_a_key_without_items(results: RunResults) -> None:
    assert "live updates" in printed(results)
    assert "live updates" not in printed(dataclasses.replace(results, extras={KEY: ()}))


@pytest.mark.parametrize(("compared", "shown"), [(64, "63/64"), (0, "-")])
def test_live_update_that_compared_nothing_lost_nothing(compared: int, shown: str) -> None:
    verified = min(compared, 63)
    update = dataclasses.replace(UPDATE, compared=compared, verified=verified)
    assert update.comparison == shown


def known(position: int, by: str | None, **more: Any) -> PatchFacts:
    how = RecognisedFacts(by=by or "", name="c" * 40, subject="", same_change=True, ambiguous=())
    return PatchFacts(
        position=position,
        subject="",
        commit="",
        already=by is not None,
        recognised=None if by is None else dataclasses.replace(how, **more),
    )


def lines_of(*patches: PatchFacts) -> list[str]:
    return tree_lines(dataclasses.replace(runs.NO_SERIES, total=len(patches), patches=patches))


def test_patches_that_the_tree_has_are_said_with_what_decided() -> None:
    patches = (known(1, "subject"), known(2, None), known(3, "patch-id"))
    assert lines_of(*patches) == [
        "the tree has patches 1, 3 of 3 already, passed over as 'git am --skip'",
        "recognised by subject: 1",
        "recognised by patch-id: 3",
    ]
    assert lines_of(known(1, None)) == []


@pytest.mark.parametrize(
    ("taken", "left_out", "said"),
    [
        (None, (), []),
        ("v2, 3 patches", (), []),
        (
            "v2, 3 patches; part 1 of v1",
            (),
            ["taken: v2, 3 patches; part 1 of v1"],
        ),
        (
            "v2, 3 patches",
            (LeftOutFacts(what="v3, part 1 of 3", why="parts 2, 3 of 3 missing"),),
            ["taken: v2, 3 patches", "left out: v3, part 1 of 3: parts 2, 3 of 3 missing"],
        ),
    ],
)
def test_reroll_that_was_taken_is_said_where_there_was_a_choice(
    taken: str | None, left_out: tuple[LeftOutFacts, ...], said: list[str]
) -> None:
    series = dataclasses.replace(runs.NO_SERIES, taken=taken, left_out=left_out)
    assert reroll_lines(series.taken, series.left_out) == said
    assert series_lines(series)[: len(said)] == said


def test_series_that_the_tree_has_is_a_regression_check() -> None:
    doubtful = known(2, "Message-ID", same_change=False, ambiguous=("d" * 40,))
    assert lines_of(known(1, "subject"), doubtful) == [
        "the tree has all 2 patches already: this is a regression check",
        "recognised by subject: 1",
        "recognised by Message-ID: 2",
        "patch 2 is in with another change than the mail's: commit cccccccccccc",
        "patch 2 may be cccccccccccc, which was taken, or dddddddddddd",
    ]


FIXES = (
    FixFacts(feature="a", bug="a leak", fixed_in="9.1", has=False, missing=("x: one", "x: two")),
    FixFacts(feature="b", bug="a race", fixed_in="9.2", has=False, missing=()),
    FixFacts(feature="c", bug="a crash", fixed_in="9.2", has=False, missing=()),
    FixFacts(feature="d", bug="a typo", fixed_in="9.2", has=True, missing=()),
)
LACKS = [
    "fixes of 9.1 that this tree does not have: a leak (2 patches)",
    "fixes of 9.2 that this tree does not have: a race; a crash",
]


def test_tree_as_it_is_is_told_what_it_lacks(results: RunResults) -> None:
    kernel = dataclasses.replace(results.kernel, fixes=FIXES)
    assert lack_lines(kernel) == LACKS
    assert lack_lines(kernel, {"a", "c"}) == [
        "fixes of 9.1 that this tree does not have: a leak (2 patches, shown by a test)",
        "fixes of 9.2 that this tree does not have: a race; a crash (shown by a test)",
    ]
    alone = dataclasses.replace(results, kernel=kernel, series=runs.NO_SERIES)
    assert "9.2 that this tree does not have: a race; a crash" in printed(alone)
    # Whoever tests a series asks about the series.
    assert "that this tree does not have" not in printed(
        dataclasses.replace(results, kernel=kernel)
    )


def test_page_tells_what_a_tree_lacks(results: RunResults) -> None:
    kernel = dataclasses.replace(results.kernel, fixes=FIXES)
    facts = facts_of([dataclasses.replace(results, kernel=kernel)])
    assert [value for name, value in facts if name.startswith("fixes")] == LACKS


@pytest.mark.parametrize("why", ["it was turned off", "", None])
def test_kernel_that_was_built_in_no_sandbox_is_said(results: RunResults, why: str | None) -> None:
    kernel = dataclasses.replace(results.kernel, no_sandbox=why)
    told = dataclasses.replace(results, kernel=kernel)
    assert ("built in no sandbox: it was turned off" in printed(told)) is bool(why)
    facts = facts_of([told])
    assert (("built in no sandbox", "it was turned off") in facts) is bool(why)


def test_fixes_are_of_their_schema(results: RunResults) -> None:
    kernel = dataclasses.replace(results.kernel, fixes=FIXES)
    made = dataclasses.replace(results, kernel=kernel)
    assert complaints("results", made.to_json()) == []


@pytest.mark.parametrize("complete", [True, False])
def test_run_that_broke_off_is_not_all_right(
    results: RunResults, tmp_path: Path, *, complete: bool
) -> None:
    good = tuple(test for test in results.tests if test.outcome is Outcome.PASSED)
    dataclasses.replace(results, tests=good, complete=complete).write(tmp_path / "results.json")
    page = write_report(tmp_path, {}).read_text()
    (evidence,) = read_evidence(tmp_path)
    said = [complaint.message for kernel in evidence.kernels for complaint in kernel.wrong]
    ended = "pytest ended before its last test"
    assert (said, ended in page) == (([], False) if complete else ([ended], True))


def test_command_of_a_run_is_the_one_that_ran_it(results: RunResults, tmp_path: Path) -> None:
    again = "harness run --kernel 7.3.4 --series none --position 0 --profile default --strict"
    results = dataclasses.replace(results, reproduce=f"{again} -- -k memfd")
    column = run_column(results, tmp_path)
    assert column.run == again
    run, boot, _ = (words for _, words in commands_of(column.run, "t.py::a"))
    assert run == f"{again} -- t.py::a"
    assert boot == "harness boot --kernel 7.3.4 --series none --position 0 --profile default"
    usual = run_column(dataclasses.replace(results, reproduce=""), tmp_path)
    assert usual.run == "harness run --position 1 --profile debug"
