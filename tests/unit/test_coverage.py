# SPDX-License-Identifier: GPL-2.0-only
"""Coverage: counters of several kernels added up by gcovr, and what is made of them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from schemas import complaints as wrong_with
from shipped import SUITE

from harness.base.errors import InfrastructureError, SpecError
from harness.report.coverage import record_of
from harness.results.form import from_plain
from harness.results.records import CoverageRecord, FileRecord, GapRecord, record_json
from harness.search.coverage import (
    Reason,
    counted,
    coverage_of,
    merge,
    percent,
    read_coverage,
    read_reasons,
)

FILES = r".*kernel/live/own_.*\.c"

CODE = """\
#include <stdlib.h>
static int twice(int n)
{
	if (n > 9)
		return 0;
	return 2 * n;
}
static int never(int n)
{
	n = n + 1;
	return n;
}
int main(int argc, char **argv)
{
	int n = atoi(argv[1]);
	if (argc > 2)
		return never(n);
	return twice(n) == 0;
}
"""


@pytest.fixture
def counters(tmp_path: Path) -> tuple[Path, list[Path]]:
    """A tree with a program that was run twice, and the counters of both runs."""
    source = tmp_path / "src" / "kernel" / "live" / "own_x.c"
    source.parent.mkdir(parents=True)
    source.write_text(CODE)
    found = []
    for run, argument in enumerate(("4", "12")):
        directory = tmp_path / "results" / "machines" / "001" / "gcov" / f"{run}-key"
        directory.mkdir(parents=True)
        program = directory / "program"
        subprocess.run(["gcc", "--coverage", "-o", program, source], check=True, cwd=directory)
        subprocess.run([program, argument], cwd=directory)
        found.append(directory)
    return tmp_path / "src", found


def test_counters_of_all_kernels_are_added_up(
    counters: tuple[Path, list[Path]], tmp_path: Path
) -> None:
    sources, directories = counters
    assert list(counted(tmp_path / "results", "key")) == directories
    (once,) = read_coverage(merge(directories[:1], sources, tmp_path / "once", FILES), sources, ())
    (file,) = read_coverage(merge(directories, sources, tmp_path, FILES), sources, ())
    assert file.file == "kernel/live/own_x.c"
    assert file.reached == once.reached + 1, "the second run reached line 5"
    assert [(gap.function, gap.first, gap.last) for gap in file.gaps if gap.function] == [
        ("never", 8, 11),
        ("main", 17, 17),
    ]
    assert "own_x.c" in (tmp_path / "coverage" / "index.html").read_text()


def test_counters_are_read_with_the_compilers_own_gcov(
    counters: tuple[Path, list[Path]], tmp_path: Path
) -> None:
    sources, directories = counters
    gcov = tmp_path / "gcc" / "gcov-99"
    gcov.parent.mkdir()
    gcov.write_text('#!/bin/sh\ntouch "${0%/*}/was-asked"\nexec gcov "$@"\n')
    gcov.chmod(0o755)
    merge(directories, sources, tmp_path, r".*", cc=str(gcov.with_name("gcc-99")))
    assert (gcov.parent / "was-asked").exists()


def test_reason_is_shown_with_its_lines(counters: tuple[Path, list[Path]], tmp_path: Path) -> None:
    sources, directories = counters
    reasons = (
        Reason(file="own_x.c", function="never", text="", reason="nobody asks"),
        Reason(file="own_x.c", function="main", text="return twice", reason="wrong line"),
    )
    (file,) = read_coverage(merge(directories, sources, tmp_path, FILES), sources, reasons)
    assert [gap.reason for gap in file.gaps] == ["nobody asks", ""]


def test_no_counters_are_no_coverage(tmp_path: Path) -> None:
    with pytest.raises(InfrastructureError, match="no kernel left any counters"):
        merge([tmp_path], tmp_path, tmp_path, FILES)


def test_tests_that_were_asked_again_count(tmp_path: Path) -> None:
    directory = tmp_path / "again" / "machines" / "001" / "gcov" / "0-key"
    directory.mkdir(parents=True)
    assert counted(tmp_path, "key") == (directory,)


def test_other_builds_do_not_count(tmp_path: Path) -> None:
    (tmp_path / "machines" / "001" / "gcov" / "0-other").mkdir(parents=True)
    assert counted(tmp_path, "key") == ()


def test_percent_is_of_all_lines() -> None:
    files = [
        FileRecord(file="a.c", lines=90, reached=90, gaps=()),
        FileRecord(file="b.c", lines=10, reached=0, gaps=()),
    ]
    assert percent(files) == 90.0
    assert percent([]) == 0.0


def test_json_has_gaps_with_their_reasons() -> None:
    gap = GapRecord(function="f", first=3, last=5, text="return;", reason="late")
    file = FileRecord(file="a.c", lines=9, reached=6, gaps=(gap,))
    record = record_of([file], Path("/x.html"))
    found = record_json(record)
    assert wrong_with("coverage", found) == []
    assert from_plain(CoverageRecord, found) == record
    assert found["files"][0]["gaps"] == [
        {"function": "f", "first": 3, "last": 5, "text": "return;", "reason": "late"}
    ]


def test_reasons_are_read_strictly(tmp_path: Path) -> None:
    file = tmp_path / "reasons.yaml"
    file.write_text("- {file: a.c, function: f, reason: late}\n")
    assert read_reasons(file) == (Reason(file="a.c", function="f", text="", reason="late"),)
    file.write_text("- {file: a.c, function: f, reason: late, because: x}\n")
    with pytest.raises(SpecError, match="because"):
        read_reasons(file)


def test_shipped_reasons_can_be_read() -> None:
    reasons = coverage_of(SUITE).reasons
    assert reasons is not None
    assert read_reasons(reasons)
