# SPDX-License-Identifier: GPL-2.0-only
from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import runs

from harness.base.errors import InputError, SpecError
from harness.report.kcidb import path_of, status_of, to_kcidb, validate
from harness.report.markdown import MAX_WRONG, to_markdown
from harness.results.evidence import read_evidence
from harness.results.expectation import Expected
from harness.results.results import Boot, BootResult, Outcome, RunResults, TestResult

BASE = "a" * 40


def result(name: str, outcome: Outcome, message: str = "", **changes: Any) -> TestResult:
    return TestResult(
        id=f"test_a.py::{name}", outcome=outcome, seconds=1.5, message=message, **changes
    )


def results(*tests: TestResult, position: int = 3, **kernel: Any) -> RunResults:
    release = f"7.0.13-p{position:02}"
    return runs.run_of(
        *tests,
        kernel={"base": BASE, "release": release, "cached": False} | kernel,
        series=runs.series_of(position, "one", "two", "three"),
        judge="expected",
        boots=(
            BootResult(
                release=release, outcome=Boot.OK, seconds=2.0, message="", machine="machines/001"
            ),
        ),
        builds={str(position): "key"},
    )


def run_of(directory: Path, *tests: TestResult, **kernel: Any) -> Path:
    results(*tests, **kernel).write(directory / "results.json")
    return directory


def matrix_of(directory: Path, *cells: dict[str, Any], unexpected: Any = ()) -> Path:
    """Write a matrix as it comes from another machine: its paths mean nothing here."""
    items = [
        {
            "position": 7,
            "profile": "default",
            "subject": "mm: x",
            "message": "",
            "build": {"status": "none"},
            "boot": {"status": None},
            "directory": f"/elsewhere/p{cell.get('position', 7):02}-default",
            "tests": {},
            "seconds": 1.0,
            "cached": False,
            "reproduce": "harness run",
        }
        | cell
        for cell in cells
    ]
    directory.mkdir(parents=True, exist_ok=True)
    data = {"schema": 1, "base": BASE, "series": "s", "profiles": ["default"], "transitions": []}
    data |= {"positions": items, "unexpected": list(unexpected)}
    (directory / "matrix.json").write_text(json.dumps(data))
    return directory


def report(directory: Path, **options: Any) -> dict[str, Any]:
    made = to_kcidb(read_evidence(directory), directory=directory, **options)
    assert validate(made)
    return made


def by_path(made: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {test["path"]: test for test in made["tests"]}


# -- what becomes what -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("outcome", "exception", "status"),
    [
        (Outcome.PASSED, None, "PASS"),
        (Outcome.FAILED, "AssertionError", "FAIL"),
        (Outcome.FAILED, None, "FAIL"),
        (Outcome.FAILED, "Failed", "FAIL"),
        (Outcome.CRASHED, "harness.base.errors.KernelCrash", "FAIL"),
        (Outcome.SKIPPED, None, "SKIP"),
        (Outcome.ERROR, "harness.base.errors.MachineError", "MISS"),
        (Outcome.ERROR, "KeyError", "ERROR"),
        (Outcome.FAILED, "TypeError", "ERROR"),
    ],
)
def test_status_is_what_was_observed(outcome: Outcome, exception: str | None, status: str) -> None:
    # The words of a message say nothing.
    assert status_of(result("test_x", outcome, "KeyError: x", exception=exception)) == status


def test_splat_outweighs_an_exception_of_the_test() -> None:
    test = result("test_x", Outcome.FAILED, exception="KeyError", splats=("BUG: KASAN",))
    assert status_of(test) == "FAIL"


def test_failure_that_is_stated_still_is_a_failure(tmp_path: Path) -> None:
    test = result("test_x", Outcome.FAILED, "assert 0", expected=Expected.FAILED)
    found = by_path(report(run_of(tmp_path, test)))["luo_harness.test_a.test_x"]
    assert found["status"] == "FAIL"
    assert (found["misc"]["expected"], found["misc"]["unexpected"]) == ("failed", False)


@pytest.mark.parametrize(
    ("test_id", "path"),
    [
        ("test_a.py::test_x", "luo_harness.test_a.test_x"),
        ("test_a.py::test_x[16-MiB]", "luo_harness.test_a.test_x.16-MiB"),
        ("sub/test_a.py::test_x[a b/c]::case.1", "luo_harness.sub.test_a.test_x.a_b.c.case_1"),
    ],
)
def test_test_has_a_place_in_the_tree(test_id: str, path: str) -> None:
    assert path_of(test_id) == path


def test_cells_without_tests_are_told_as_far_as_they_came(tmp_path: Path) -> None:
    directory = matrix_of(
        tmp_path,
        {"position": 1, "status": "does not apply", "message": "hunk 1"},
        {"position": 2, "status": "does not build", "build": {"status": "failed"}},
        {
            "position": 3,
            "status": "does not boot",
            "build": {"status": "ok"},
            "boot": {"status": "crashed"},
        },
        {"position": 4, "status": "no verdict", "build": {"status": "ok"}},
        {"position": 5, "status": "no verdict", "message": "the disk is full"},
    )
    (tmp_path / "p02-default").mkdir()
    (tmp_path / "p02-default" / "build.log").write_text("luo_core.c:12: error\n")
    made = report(directory)
    assert [item["valid"] for item in made["checkouts"]] == [False, True, True, True, True]
    assert [item["status"] for item in made["builds"]] == ["FAIL", "PASS", "PASS", "MISS"]
    assert made["builds"][0]["log_excerpt"] == "luo_core.c:12: error\n"
    assert [test["status"] for test in made["tests"]] == ["FAIL", "MISS"]


# -- ids, and what is known elsewhere ------------------------------------------------------------


def test_same_results_make_the_same_report(tmp_path: Path) -> None:
    one = run_of(tmp_path / "one", result("test_x", Outcome.PASSED))
    other = run_of(tmp_path / "other", result("test_x", Outcome.PASSED))
    assert report(one) == report(other)


def test_another_run_of_the_same_kernel_has_tests_of_its_own(tmp_path: Path) -> None:
    one = report(run_of(tmp_path / "one", result("test_x", Outcome.PASSED)))
    other = report(run_of(tmp_path / "other", result("test_x", Outcome.FAILED)))
    assert one["builds"][0]["id"] == other["builds"][0]["id"]
    assert {t["id"] for t in one["tests"]}.isdisjoint(t["id"] for t in other["tests"])


def test_objects_refer_to_each_other(tmp_path: Path) -> None:
    made = report(run_of(tmp_path, result("test_x", Outcome.PASSED)), origin="mylab")
    (checkout,), (build,) = made["checkouts"], made["builds"]
    assert build["checkout_id"] == checkout["id"]
    assert {test["build_id"] for test in made["tests"]} == {build["id"]}
    assert all(item["id"].startswith("mylab:") for item in (checkout, build, *made["tests"]))


def test_patchset_hash_is_that_of_the_schema(tmp_path: Path) -> None:
    patches = ("1" * 64, "2" * 64)
    (checkout,) = report(run_of(tmp_path, patchset=patches))["checkouts"]
    lines = b"1" * 64 + b"\n" + b"2" * 64 + b"\n"
    assert checkout["patchset_hash"] == hashlib.sha256(lines).hexdigest()
    (bare,) = report(run_of(tmp_path, patchset=()))["checkouts"]
    assert bare["patchset_hash"] == ""


def test_commit_of_an_import_is_not_passed_off_as_known(tmp_path: Path) -> None:
    label = f"~/linux at HEAD ({BASE[:12]})"
    (imported,) = report(run_of(tmp_path, label=label, public=False))["checkouts"]
    assert "git_commit_hash" not in imported
    assert report(run_of(tmp_path, public=True))["checkouts"][0]["git_commit_hash"] == BASE


def test_logs_have_an_address_where_results_are_published(tmp_path: Path) -> None:
    test = result("test_x", Outcome.PASSED, console="console/test a.log")
    run_of(tmp_path, test)
    (tmp_path / "console").mkdir()
    (tmp_path / "console" / "test a.log").touch()
    name = "luo_harness.test_a.test_x"
    assert "log_url" not in by_path(report(tmp_path))[name]
    found = by_path(report(tmp_path, url="https://example.com/42/"))[name]
    assert found["log_url"] == "https://example.com/42/console/test%20a.log"


def test_start_is_that_of_the_run(tmp_path: Path) -> None:
    run_of(tmp_path, result("test_x", Outcome.PASSED))
    assert {t["start_time"] for t in report(tmp_path)["tests"]} == {"2026-11-24T08:44:20+00:00"}


def test_what_a_kernel_printed_keeps_the_report_valid(tmp_path: Path) -> None:
    test = result("test_x", Outcome.FAILED, "a\0b" + "x" * 20000)
    excerpt = by_path(report(run_of(tmp_path, test)))["luo_harness.test_a.test_x"]["log_excerpt"]
    assert len(excerpt) == 16384


def test_report_that_is_not_valid_is_noticed() -> None:
    with pytest.raises(SpecError, match="not valid at tests/0"):
        validate({"version": {"major": 5, "minor": 3}, "tests": [{"id": "x"}]})


def test_origin_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="'My Lab' is no origin"):
        report(run_of(tmp_path), origin="My Lab")


# -- reading, and Markdown -----------------------------------------------------------------------


def test_results_are_found_at_any_depth(tmp_path: Path) -> None:
    run_of(tmp_path / "a" / "b", result("test_x", Outcome.PASSED))
    matrix_of(tmp_path / "c", {"status": "does not build", "build": {"status": "failed"}})
    assert [item.name for item in read_evidence(tmp_path)] == ["a/b", "c"]


@pytest.mark.parametrize("content", [None, "{", "{}"])
def test_no_results_or_damaged_ones_are_refused(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "matrix.json").write_text(content)
    with pytest.raises(SpecError):
        read_evidence(tmp_path)


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        ({"status": "mad"}, r"positions\[0\]\.status: 'mad' is none of does not apply, "),
        ({"status": "tested", "build": {"status": "?"}}, r"positions\[0\]\.build\.status: '\?'"),
        ({"status": "tested", "tests": {"a": "well"}}, r"positions\[0\]\.tests\.a: 'well'"),
        ({"status": "tested", "seconds": "1"}, r"positions\[0\]\.seconds: '1' is not a number"),
    ],
)
def test_matrix_that_is_damaged_is_told_with_the_place(
    tmp_path: Path, cell: dict[str, Any], said: str
) -> None:
    with pytest.raises(SpecError, match=said):
        read_evidence(matrix_of(tmp_path, cell))


def test_matrix_of_another_version_is_told(tmp_path: Path) -> None:
    path = matrix_of(tmp_path, {"status": "tested"}) / "matrix.json"
    path.write_text(path.read_text().replace('"schema": 1', '"schema": 2'))
    with pytest.raises(SpecError, match="schema 2, this harness reads 1"):
        read_evidence(tmp_path)


def test_markdown_names_what_is_to_be_looked_at(tmp_path: Path) -> None:
    wrong = {
        "position": 7,
        "profile": "default",
        "test": "test_a.py::test_x",
        "outcome": "failed",
        "expected": "passed",
        "message": "assert 1\nmore",
        "verdict": True,
        "log": None,
        "reproduce": "harness run --position 7",
    }
    matrix_of(tmp_path, {"status": "tested", "build": {"status": "ok"}}, unexpected=[wrong])
    run_of(tmp_path / "p07-default", result("test_x", Outcome.FAILED, unexpected=True))
    text = to_markdown(read_evidence(tmp_path))
    assert text.startswith("## 1 thing to look at\n")
    assert "| 7 | default | yes | 0 | 0 | 1 |" in text
    assert "`harness run --position 7`" in text


def test_markdown_says_once_what_has_one_cause(tmp_path: Path) -> None:
    for position in (3, 4):
        test = result("test_x", Outcome.FAILED, f"leaked {position} pages", unexpected=True)
        results(test, position=position).write(tmp_path / str(position) / "results.json")
    text = to_markdown(read_evidence(tmp_path))
    assert text.startswith("## 2 things to look at\n")
    assert text.count("\n- ") == 1
    assert "- positions 3 to 4, default: " in text
    assert "first seen at patch 3" in text


def test_markdown_holds_the_nightlys_own_words(tmp_path: Path) -> None:
    (tmp_path / "summary.txt").write_text("nightly of today: all as it should be\n")
    run_of(tmp_path / "pinned", result("test_x", Outcome.PASSED))
    assert "```\nnightly of today" in to_markdown(read_evidence(tmp_path))


def test_nothing_from_a_kernel_becomes_markup(tmp_path: Path) -> None:
    said = "<img src=x> | [a](b) `c`"
    run_of(tmp_path, result("test_x", Outcome.FAILED, said, unexpected=True))
    text = to_markdown(read_evidence(tmp_path))
    assert r"\<img src=x\> \| \[a\]\(b\) \`c\`" in text


def test_long_list_is_cut(tmp_path: Path) -> None:
    tests = [result(f"test_{n}", Outcome.FAILED, unexpected=True) for n in range(MAX_WRONG + 3)]
    text = to_markdown(read_evidence(run_of(tmp_path, *tests)))
    assert "- and 3 more" in text
    assert text.count("- position 3") == MAX_WRONG
