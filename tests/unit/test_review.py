# SPDX-License-Identifier: GPL-2.0-only
"""What is checked for b4, and what it is told; the cells here are made up, none was run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cells import cell_at, outcome_of, result_of
from schemas import complaints as wrong_with
from shipped import SERIES

from harness.base.errors import InputError, SeriesError
from harness.base.settings import target_from_settings
from harness.kernel.series import read_headings, read_series
from harness.kernel.source import git
from harness.report.review import to_json
from harness.results.records import CellStatus
from harness.results.results import Boot
from harness.run.cell import CellResult
from harness.search.review import (
    Status,
    checks_of,
    place_patch,
    place_series,
    read_tracking,
    tracked,
    worst,
)

TARGET = target_from_settings(lambda _name: None)
SHIPPED = read_series(str(SERIES))
FIFTH = SHIPPED.patches[4].subject
DIFF = "---\ndiff --git a/mm/a.c b/mm/a.c\n--- a/mm/a.c\n+++ b/mm/a.c\n@@ -1 +1 @@\n-a\n+b\n"


def mail(subject: str, body: str = DIFF) -> bytes:
    return f"From: A <a@example.com>\nSubject: {subject}\n\nWhy.\n{body}".encode()


# -- what is checked -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("subject", "place"),
    [
        (f"[PATCH 5/11] {FIFTH}", (SHIPPED.origin, 4)),
        (f"[PATCH v2] {FIFTH}", (SHIPPED.origin, 4)),
        (f"[PATCH v5 3/4] {FIFTH}", (SHIPPED.origin, 4)),
        ("[PATCH v2 7/11] liveupdate: Said in other words", (SHIPPED.origin, 6)),
        ("[PATCH] mm: on its own", (None, 0)),
        ("[PATCH 1/3] mm: the first", (None, 0)),
    ],
)
def test_patch_goes_on_what_comes_before_it(subject: str, place: tuple[str | None, int]) -> None:
    found = place_patch(mail(subject), SHIPPED, TARGET)
    assert (found.series, found.position) == place


def test_patch_of_an_unknown_series_is_refused() -> None:
    with pytest.raises(SeriesError, match='patch 2 of 3 "mm: x" is in no series') as caught:
        place_patch(mail("[PATCH 2/3] mm: x"), SHIPPED, TARGET)
    assert "--series" in (caught.value.hint or "")


@pytest.mark.parametrize(
    "data", [b"", mail("Re: [PATCH] mm: x"), mail("[PATCH 0/3] mm: cover", ""), mail("hello", "")]
)
def test_mail_that_is_no_patch_is_refused(data: bytes) -> None:
    with pytest.raises(SeriesError, match="one patch is expected, not 0"):
        place_patch(data, SHIPPED, TARGET)


def test_headings_of_an_mbox() -> None:
    box = b"".join(
        b"From x Mon Sep 17 00:00:00 2001\n" + mail(subject, body) + b"\n"
        for subject, body in (
            ("[PATCH v3 0/2] mm: both", ""),
            ("[PATCH v3 1/2] mm: one", DIFF),
            ("Re: [PATCH v3 1/2] mm: one", ""),
        )
    )
    found = [(h.number, h.total, h.subject) for h in read_headings(box)]
    assert found == [(0, 2, "mm: both"), (1, 2, "mm: one")]


def test_series_in_the_mail_is_kept_and_taken(tmp_path: Path) -> None:
    file = tmp_path / "series.mbx"
    found = place_series(mail("[PATCH] mm: x"), TARGET, file)
    assert (found.series, file.read_bytes()) == (str(file), mail("[PATCH] mm: x"))


def test_cover_letter_of_the_shipped_series_is_known_by_its_title(tmp_path: Path) -> None:
    cover = mail(f"[PATCH v9 00/11] {SHIPPED.title}", "")
    assert place_series(cover, TARGET, tmp_path / "x") == TARGET


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (mail("[PATCH 0/3] mm: other", ""), 'the patches of "mm: other" are not known'),
        (mail("hello", ""), "there is no patch"),
    ],
)
def test_series_that_is_not_known_is_refused(tmp_path: Path, data: bytes, said: str) -> None:
    with pytest.raises(SeriesError, match=said):
        place_series(data, TARGET, tmp_path / "x")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A tree with a review branch as b4 makes it."""
    repo = tmp_path / "linux"
    git(tmp_path, "init", "-q", "-b", "main", repo)
    for subject in ("base", "mm: one", "mm: two", "b4's own data"):
        if subject == "mm: one":
            git(repo, "checkout", "-q", "-b", "b4/review/20260101-x")
        git(repo, "commit", "-q", "--allow-empty", "-m", subject)
    return repo


def test_series_of_the_review_branch(tree: Path) -> None:
    first = git(tree, "rev-parse", "HEAD~2").stdout.strip()
    data = {"series": {"first-patch-commit": first, "change-id": "20260101-x"}}
    found = tracked(TARGET, data, tree)
    assert found is not None
    assert (found.kernel.path, found.kernel.base) == (tree, f"{first}~1")
    assert found.series is not None
    log = git(tree, "log", "--reverse", "--format=%s", found.series).stdout
    assert log.splitlines() == ["mm: one", "mm: two"]


@pytest.mark.parametrize(
    "data", [None, {}, {"series": None}, {"series": {"change-id": "20260101-x"}}]
)
def test_nothing_tracked(tree: Path, data: dict[str, object] | None) -> None:
    assert tracked(TARGET, data, tree) is None


def test_review_branch_that_is_gone(tree: Path) -> None:
    data = {"series": {"first-patch-commit": "HEAD", "change-id": "other"}}
    assert tracked(TARGET, data, tree) is None


def test_tracking_file(tmp_path: Path) -> None:
    assert read_tracking(None) is None
    (tmp_path / "x").write_text(json.dumps({"series": {}}))
    assert read_tracking(str(tmp_path / "x")) == {"series": {}}
    (tmp_path / "x").write_text("{")
    with pytest.raises(InputError, match="B4_TRACKING_FILE="):
        read_tracking(str(tmp_path / "x"))


# -- what is told ----------------------------------------------------------------------------


def cell(
    status: CellStatus = CellStatus.TESTED,
    *outcomes: str,
    position: int = 1,
    boot: Boot | None = Boot.OK,
    warnings: tuple[str, ...] | None = (),
) -> CellResult:
    """Make a cell of tests such as ``passed`` and ``failed!`` (unexpected)."""
    return result_of(
        cell_at(position),
        *(outcome_of(f"t{number}", text) for number, text in enumerate(outcomes)),
        status=status,
        boot=boot,
        warnings=warnings,
        directory=Path("/results/patch"),
    )


def told(*cells: CellResult) -> dict[str, str]:
    """Return column -> status."""
    checks = checks_of(cells, {1: "mm: one", 2: "mm: two"})
    return {check.tool: check.status.value for check in checks}


ALL_PASS = {"apply": "pass", "build": "pass", "boot": "pass", "tests": "pass"}


@pytest.mark.parametrize(
    ("result", "statuses"),
    [
        (cell(CellStatus.TESTED, "passed", "failed"), ALL_PASS),
        (cell(CellStatus.TESTED, "failed!", "error!"), ALL_PASS | {"tests": "fail"}),
        (cell(CellStatus.TESTED, "passed", "error!"), ALL_PASS | {"tests": "warn"}),
        (cell(CellStatus.TESTED), ALL_PASS | {"tests": "warn"}),
        (cell(CellStatus.TESTED, "passed", warnings=("w",)), ALL_PASS | {"build": "warn"}),
        (cell(CellStatus.TESTED, "passed", warnings=None), ALL_PASS),
        (cell(CellStatus.TESTED, "passed", boot=None), ALL_PASS | {"boot": "warn"}),
        (cell(CellStatus.NOT_APPLIED), {"apply": "fail"}),
        (cell(CellStatus.NOT_BUILT), {"apply": "pass", "build": "fail"}),
        (cell(CellStatus.ERROR), {"apply": "pass", "build": "warn"}),
        (
            cell(CellStatus.NOT_BOOTED, "crashed!", boot=Boot.CRASHED),
            ALL_PASS | {"boot": "fail", "tests": "warn"},
        ),
        (
            cell(CellStatus.NOT_BOOTED, "error!", boot=Boot.UNUSABLE),
            ALL_PASS | {"boot": "warn", "tests": "warn"},
        ),
    ],
)
def test_statuses(result: CellResult, statuses: dict[str, str]) -> None:
    assert told(result) == statuses


def test_statuses_of_a_series_are_the_worst_of_its_positions() -> None:
    good = cell(CellStatus.TESTED, "passed")
    assert told(good, cell(CellStatus.NOT_BUILT, position=2)) == ALL_PASS | {"build": "fail"}
    assert told(good, cell(CellStatus.NOT_APPLIED, position=2)) == ALL_PASS | {"apply": "fail"}


def test_details_say_where_why_and_how_to_see_it_again() -> None:
    results = [cell(CellStatus.TESTED, "failed!"), cell(CellStatus.TESTED, "passed", position=2)]
    checks = to_json(checks_of(results, {}), Path("/r"))
    (tests,) = (check for check in checks if check["tool"] == "harness tests")
    assert tests["summary"] == "2 tests, 1 passed, 1 unexpected"
    assert "position 1, default: t0: failed, stated: passed\n    why\n" in tests["details"]
    assert "    run: harness run --position 1" in tests["details"]
    assert "1 -> 2: t0: failed -> passed (default)" in tests["details"]


def test_json_has_the_fields_that_b4_reads() -> None:
    (found, *_) = to_json(checks_of([cell(CellStatus.TESTED, "passed")], {}), Path("/results"))
    assert wrong_with("checks", [found]) == []
    assert set(found) == {"tool", "status", "summary", "url", "details"}
    assert all(type(value) is str for value in found.values())
    assert found["url"] == "file:///results"


def test_worst() -> None:
    checks = checks_of([cell(CellStatus.TESTED, "error!")], {})
    assert worst(checks) is Status.WARN
    assert worst(checks[:1]) is Status.PASS
