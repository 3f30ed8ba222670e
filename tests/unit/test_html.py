# SPDX-License-Identifier: GPL-2.0-only
"""The report's page: what it says, that nothing becomes markup, and that a browser is at ease."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import subprocess
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import runs
from cells import cell_at, outcome_of, result_of
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait

import harness.liveupdate.section
import harness.report.page
from harness.base.errors import SpecError
from harness.base.spec import PROJECT_ROOT
from harness.base.suite import load_suite
from harness.cli.main import run_command
from harness.kernel.apply import AppliedSeries, Position
from harness.kernel.source import SourceTree
from harness.liveupdate.results import KEY, UpdateResult
from harness.report.evidence import _with_traces
from harness.report.matrix import record_of
from harness.report.page import breakable, write_report
from harness.report.sections import load_sections
from harness.results.expectation import Expected
from harness.results.form import write_file
from harness.results.records import record_json
from harness.results.results import Boot, BootResult, Outcome, RunResults, TestResult

HOSTILE = "</pre></script><script>document.title='owned'</script><img src=x onerror=alert(1)>&\"'"
SUBJECTS = ["base", "first: change one thing", f"second: {HOSTILE}"]
FLIPPING = "test_a.py::test_flips"
SECTIONS = load_sections(load_suite(PROJECT_ROOT))


def render(directory: Path) -> str:
    return harness.report.page.render(directory, SECTIONS)


def results(position: int, **changes: Any) -> RunResults:
    outcome = Outcome.PASSED if position >= 2 else Outcome.FAILED
    return dataclasses.replace(
        runs.run_of(
            kernel={"release": f"7.0.13-p{position:02}", "new_warnings": ()},
            series=runs.series_of(position, *SUBJECTS[1:]),
            judge="expected",
            tests=(
                TestResult(id="test_a.py::test_plain", outcome=Outcome.PASSED, seconds=0.1),
                TestResult(id="test_a.py::test_simple", outcome=Outcome.PASSED, seconds=0.1),
                TestResult(
                    id=FLIPPING,
                    outcome=outcome,
                    seconds=0.1,
                    message="" if position >= 2 else HOSTILE,
                    expected=Expected(outcome.value),
                    console="console/flips.log",
                ),
                TestResult(
                    id="test_b.py::test_odd",
                    outcome=Outcome.FAILED if position == 1 else Outcome.PASSED,
                    seconds=0.1,
                    message="odd" if position == 1 else "",
                    unexpected=position == 1,
                    splats=("BUG: odd",) if position == 1 else (),
                    console="console/odd.log",
                ),
            ),
            extras={
                KEY: (
                    UpdateResult(
                        test="test_a.py::test_flips",
                        from_release="one",
                        to_release="two",
                        from_boot_id="1",
                        to_boot_id="2",
                        qemu_pid=1,
                        number=1,
                        preserved=3,
                        compared=2,
                        verified=2,
                        stages={"preserve": 0.1, "load": 1.0, "blackout": 2.0},
                    ).to_item(),
                ),
                "drawn_lots": ({"lot": HOSTILE},) if position == 1 else (),
            },
            boots=(
                BootResult(
                    release="r", outcome=Boot.OK, seconds=2.0, message="", machine="machines/001"
                ),
            ),
            seconds=3.0,
        ),
        **changes,
    )


def write_cell(directory: Path, position: int) -> None:
    results(position).write(directory / "results.json")
    console = directory / "console"
    console.mkdir()
    (console / "flips.log").write_text(f"a line\n{HOSTILE}\n")
    (console / "odd.log").write_text("".join(f"line {n}\n" for n in range(200)))
    (console / "odd.splats").write_text("BUG: odd\n  at file.c:12\n")


@pytest.fixture
def matrix(tmp_path: Path) -> Path:
    """A matrix of three positions: one test flips at 2, one is odd at 1."""
    directory = tmp_path / "matrix"
    positions = []
    for position in range(3):
        name = f"p{position:02}-default"
        (directory / name).mkdir(parents=True)
        write_cell(directory / name, position)
        positions.append(
            {
                "position": position,
                "profile": "default",
                "subject": SUBJECTS[position],
                "status": "tested",
                "message": "",
                "build": {
                    "status": "ok",
                    "commit": "c",
                    "seconds": 12.0,
                    "cached": position == 0,
                    "new_warnings": ["luo.c: unused"] if position == 1 else [],
                },
                "boot": {"status": "ok", "seconds": 2.0},
                "tests": {},
                "seconds": 5.0,
                "cached": position == 0,
                "directory": f"/somewhere/else/{name}",
                "reproduce": f"harness run --position {position} --expected",
            }
        )
    data = {
        "schema": 1,
        "base": "abc",
        "series": "s",
        "profiles": ["default"],
        "positions": positions,
        "transitions": [
            {
                "test": FLIPPING,
                "profile": "default",
                "from": 1,
                "to": 2,
                "subject": SUBJECTS[2],
                "before": "failed",
                "after": "passed",
            }
        ],
        "unexpected": [
            {
                "position": 1,
                "profile": "default",
                "test": "test_b.py::test_odd",
                "expected": "passed",
                "outcome": "failed",
                "message": "odd",
                "verdict": True,
                "log": None,
                "reproduce": "harness run --position 1 --expected -- tests/guest/test_b.py",
            }
        ],
    }
    (directory / "matrix.json").write_text(json.dumps(data))
    return directory


LONG = "test_preserve.py::test_a_file_that_is_still_open_keeps_its_reference_over_an_update[4096]"


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    """A matrix of twelve positions: three things go wrong at eleven places."""
    directory = tmp_path / "broken"
    cells = []
    for position in range(12):
        leaks = f"leaked {position * 8} pages at ffff888{position:09x}\nassert 0 == {position}"
        tests = (
            outcome_of("test_a.py::test_plain", "passed"),
            outcome_of(LONG, "failed!" if position >= 6 else "passed", leaks),
            outcome_of(
                "test_b.py::test_odd",
                *(("failed!", "hangs") if position in (3, 4) else ("passed",)),
            ),
            outcome_of(
                "test_b.py::test_lost",
                *(("error!", "QEMU went away") if position in (8, 9, 10) else ("passed",)),
            ),
        )
        cell = cell_at(position)
        made = dataclasses.replace(
            result_of(cell, *tests, directory=directory / cell.name),
            results=results(position, tests=tests),
        )
        assert made.results is not None
        made.results.write(made.directory / "results.json")
        cells.append(made)
    source = SourceTree(
        repo=tmp_path, base="b", tree="t", version="7.0", label="l", public=False, lock="x"
    )
    positions = tuple(
        Position(number=n, subject=f"mm: step {n}" if n else "base", commit="c", tree="t")
        for n in range(12)
    )
    applied = AppliedSeries(
        source=source, series=None, support=(), positions=positions, broken=None
    )
    write_file(directory / "matrix.json", record_json(record_of(applied, ["default"], cells)))
    return directory


class Elements(HTMLParser):
    """The elements of a page, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag in ("td", "th"):
            self.text += " "

    def handle_data(self, data: str) -> None:
        self.text += data


# -- what is in it ---------------------------------------------------------------------------


def test_nothing_from_a_kernel_becomes_markup(matrix: Path) -> None:
    page = Elements(render(matrix))
    assert HOSTILE in page.text
    assert [tag for tag, _ in page.tags].count("script") == 1
    assert not any(tag == "img" for tag, _ in page.tags)
    assert not any(name.startswith("on") for _, attrs in page.tags for name in attrs)


def test_page_loads_nothing(matrix: Path) -> None:
    page = Elements(render(matrix))
    for tag, attrs in page.tags:
        assert "src" not in attrs, tag
        assert tag != "link"
        assert (attrs.get("href") or "#").startswith("#")
    (policy,) = (a["content"] for t, a in page.tags if t == "meta" and "http-equiv" in a)
    assert policy is not None
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy


def test_each_patch_is_shown_with_what_it_changes(matrix: Path) -> None:
    text = re.sub(r"\s+", " ", Elements(render(matrix)).text)
    changes = text.partition("What each patch changes")[2].partition("Every test")[0]
    assert re.search(
        r"1 first: change one thing ! 1 new build warning no test changes here", changes
    )
    assert re.search(r"2 second: .* 1 test: fails . passes", changes)
    assert re.search(r"test_flips test_a.py", changes)
    assert "1 not as they should be" in text


def test_what_is_unexpected_is_a_card_for_each_cause(broken: Path) -> None:
    page = render(broken)
    assert page.count('<li class="card alarm">') == 2
    assert page.count('<li class="card alarm lost">') == 1
    text = section(page, "unexpected")
    assert "One card for each test and cause: 3, at 11 places in all." in text
    assert f"positions 6 to 11, default {LONG} first seen at patch 6: mm: step 6" in text
    assert "positions 3 to 4, default test_b.py::test_odd" in text
    assert "positions 8 to 10, default test_b.py::test_lost" in text
    assert text.index("test_odd") < text.index("test_lost"), "what has a verdict comes first"
    assert "8 not as it should be" in Elements(page).text
    links = re.findall(r'<a class="more" href="#(p\d\d)-default-test-preserve', page)
    assert links == ["p06", "p07", "p08", "p09", "p10", "p11"]


def test_long_names_may_break_at_underscores_and_slashes(broken: Path) -> None:
    page = render(broken)
    assert "<h3>test_<wbr>preserve.py::test_<wbr>a_<wbr>file_<wbr>that" in page
    assert breakable("a/<b>_c") == "a/<wbr>&lt;b&gt;_<wbr>c"


def test_evidence_has_message_splat_console_and_command(matrix: Path) -> None:
    page = render(matrix)
    start = page.index('<details class="one" id="p01-default-test-b-py-test-odd"')
    part = page[start : page.index("</details>", start)]
    for words in ("at file.c:12", "line 199", "140 lines before these", "harness run --position 1"):
        assert words in part
    assert "line 139\n" not in part


def test_links_of_the_page_lead_somewhere(matrix: Path) -> None:
    page = Elements(render(matrix))
    ids = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    links = {attrs["href"] for tag, attrs in page.tags if tag == "a"}
    assert {str(link)[1:] for link in links} <= set(ids)


def test_live_updates_are_told_by_what_the_test_compared(matrix: Path) -> None:
    text = Elements(render(matrix)).text.partition("Live updates")[2]
    # Three were preserved, and both of those that were compared were the same.
    assert re.search(r"test_flips\s+one \u2192 two\s+3\s+2/2\s+0\.10", text)


def test_report_of_one_run(tmp_path: Path) -> None:
    write_cell(tmp_path, 1)
    text = Elements(render(tmp_path)).text
    assert "7.0.13-p01, profile default" in text
    assert "1 not as they should be" in text


def test_reroll_that_was_taken_is_on_the_page(tmp_path: Path) -> None:
    write_cell(tmp_path, 1)
    path = tmp_path / "results.json"
    data = json.loads(path.read_text())
    data["series"] |= {
        "taken": "v2, 3 patches; part 1 of v1",
        "left_out": [{"what": "v3, part 1 of 3", "why": "parts 2, 3 of 3 missing"}],
    }
    path.write_text(json.dumps(data))
    text = Elements(render(tmp_path)).text
    assert "taken: v2, 3 patches; part 1 of v1" in text
    assert "left out: v3, part 1 of 3: parts 2, 3 of 3 missing" in text


def test_cell_that_did_not_build_is_told(matrix: Path) -> None:
    data = json.loads((matrix / "matrix.json").read_text())
    data["positions"][1] |= {"status": "does not build", "message": "luo.c:1: error"}
    (matrix / "matrix.json").write_text(json.dumps(data))
    (matrix / "p01-default" / "results.json").unlink()
    text = re.sub(r"\s+", " ", Elements(render(matrix)).text)
    assert (
        "position 1, default: 1 not as it should be \u2717! the kernel itself does not build"
        in text
    )
    assert "1 first: change one thing ! a kernel came to nothing here" in text
    assert "luo.c:1: error" in text


def section(page: str, key: str) -> str:
    """Return the text of a section of the suite's own, every run of blanks one."""
    start = page.index(f'<section aria-labelledby="{key}">')
    return re.sub(r"\s+", " ", Elements(page[start : page.index("</section>", start)]).text)


def test_live_updates_of_all_kernels_are_on_one_scale(matrix: Path) -> None:
    text = section(render(matrix), f"extra-{KEY}")
    assert text.strip().startswith("Live updates ")
    for position in range(3):
        assert f"position {position}, default: 1 live update, blackout 2.00 s" in text
    assert "test_a.py::test_flips one \u2192 two 3 2/2 0.10 1.00 2.00 0.00 0.00 0.00 3.10" in text
    assert "0 to 3 s, a mark every 1 s" in text


def test_live_updates_have_a_tile_and_a_link(matrix: Path) -> None:
    page = render(matrix)
    assert f'<a href="#extra-{KEY}">live updates</a>' in page
    assert re.search(r"3\s*live updates", Elements(page).text)


def test_what_nobody_knows_how_to_show_is_shown_plainly(matrix: Path) -> None:
    page = render(matrix)
    text = section(page, "extra-drawn_lots")
    assert text.strip().startswith("Drawn lots position 1, default lot")
    assert re.sub(r"\s+", " ", HOSTILE) in text
    assert "position 0" not in text


SHOWN = """\
from markupsafe import Markup
from rich.table import Table

from harness.report.sections import Section

def page(shown):
    return Markup("").join(Markup("<i>{}: {}</i>").format(k.label, i["lot"])
                           for k in shown for i in k.items)

DRAWS = Section(title="lots", table=lambda items: Table(), page=page, style="i.lot { top: 0 }")
"""


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    """A suite that shows lots in a way of its own."""
    made = tmp_path / "suite"
    (made / "tests").mkdir(parents=True)
    (made / "lots_shown.py").write_text(SHOWN)
    (made / "suite.yaml").write_text(
        "name: lots\ntests: tests\nsections:\n  drawn_lots: lots_shown:DRAWS\n"
    )
    return made


def test_suite_brings_sections_of_its_own(matrix: Path, suite: Path) -> None:
    assert run_command(["report", str(matrix), "--suite", str(suite)]) == 0
    page = (matrix / "report.html").read_text()
    assert section(page, "extra-drawn_lots").strip().startswith("Lots position 1, default: </pre>")
    assert "i.lot { top: 0 }" in page
    assert "<img" not in page


@pytest.mark.parametrize(
    ("named", "said"),
    [
        ("lots_shown:GONE", "lots_shown:GONE: AttributeError"),
        ("lots_shown:page", "lots_shown:page is no Section but function"),
        ("lots_broken:DRAWS", "lots_broken:DRAWS: ZeroDivisionError: division by zero"),
    ],
)
def test_section_that_is_none_is_told_with_file_and_line(
    suite: Path, named: str, said: str
) -> None:
    (suite / "lots_broken.py").write_text("1 / 0\n")
    file = suite / "suite.yaml"
    file.write_text(file.read_text().replace("lots_shown:DRAWS", named))
    with pytest.raises(SpecError) as caught:
        load_sections(load_suite(suite))
    assert caught.value.message.startswith(f"{file}:4: {said}")


def test_kernels_without_items_have_no_section(matrix: Path) -> None:
    for position in range(3):
        path = matrix / f"p{position:02}-default" / "results.json"
        dataclasses.replace(results(position), extras={}).write(path)
    page = render(matrix)
    assert "live updates" not in page.lower()
    assert "--bar-blackout" not in page, "the style comes with the section"


@pytest.mark.parametrize("content", [None, "{", '{"schema": 99}'])
def test_directory_without_results_is_refused(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "results.json").write_text(content)
    with pytest.raises(SpecError):
        write_report(tmp_path, SECTIONS)
    assert not (tmp_path / "report.html").exists()


def test_tests_that_behave_alike_are_one_group(matrix: Path) -> None:
    text = re.sub(r"\s+", " ", Elements(render(matrix)).text)
    table = text.partition("Every test at every position")[2]
    places = [
        table.index(words)
        for words in (
            "1 test not as they should be: position 1, default",
            "1 test fail before patch 2",
            "2 tests pass everywhere",
        )
    ]
    assert places == sorted(places)


def test_trace_of_a_long_splat_is_never_left_out() -> None:
    dump = "".join(f"RAX: {n:016x}\n" for n in range(300))
    trace = "".join(f" deep_{n}+0x1/0x2 (kernel/a.c:{n})\n" for n in range(200))
    text = f"WARNING: possible recursive locking detected\n{dump}stack backtrace:\n{trace}{dump}"
    other = "[    9.1] BUG: KASAN: slab-out-of-bounds in f+0x1/0x2\n"
    shown = _with_traces(text + other, 60)
    assert [line for line in shown if "deep_" in line] == trace.splitlines()
    assert other.rstrip() in shown
    assert "(242 lines left out)" in shown
    assert len(shown) < 270


def test_control_characters_of_a_console_are_made_visible(matrix: Path) -> None:
    (matrix / "p00-default" / "console" / "flips.log").write_text("a\x1b[31mred\u202eback\0")
    page = render(matrix)
    assert "a\u241b[31mred\ufffdback\u2400" in page
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f\u202a-\u202e]", page)


def test_console_outside_of_its_directory_is_not_read(matrix: Path) -> None:
    (matrix / "secret.log").write_text("not of this test")
    cell = matrix / "p00-default"
    found = results(0)
    tests = tuple(dataclasses.replace(t, console="../secret.log") for t in found.tests)
    dataclasses.replace(found, tests=tests).write(cell / "results.json")
    assert "not of this test" not in render(matrix)


def test_page_stays_small_however_long_the_consoles_are(matrix: Path) -> None:
    line = "x" * 50_000
    for path in matrix.glob("*/console/*.log"):
        path.write_text(f"{line}\n" * 200)
    assert len(render(matrix)) < 3 << 20


def test_race_that_was_not_lost_is_no_flip(matrix: Path) -> None:
    for position, outcome in ((0, Outcome.FAILED), (1, Outcome.PASSED)):
        found = results(position)
        race = dataclasses.replace(found.tests[0], expected=Expected.EITHER, outcome=outcome)
        tests = (race, *found.tests[1:])
        path = matrix / f"p{position:02}-default" / "results.json"
        dataclasses.replace(found, tests=tests).write(path)
    assert "1 test</b> may fail before patch 2" in render(matrix)


COVERAGE = {
    "schema": 1,
    "percent": 75.0,
    "html": "x",
    "files": [
        {
            "file": "kernel/liveupdate/luo_core.c",
            "lines": 8,
            "reached": 6,
            "gaps": [
                {"function": "f", "first": 3, "last": 4, "text": HOSTILE, "reason": "no memory"},
                {"function": "g", "first": 7, "last": 7, "text": "g", "reason": ""},
            ],
        }
    ],
}
MUTANTS = {
    "schema": 1,
    "mutants": [
        {
            "name": name,
            "what": "what",
            "breaks": breaks,
            "profile": "default",
            "fate": fate,
            "killer": "test_a.py::test_x" if fate == "killed" else None,
            "message": "m",
            "log": "l",
            "seconds": 1.0,
        }
        for name, breaks, fate in (("one", "7", "killed"), ("two", "base", "survived"))
    ],
}
STEPS = [
    {
        "position": position,
        "subject": f"subject {position}",
        "commit": "0123456789abcdef",
        "verdict": verdict,
        "reason": HOSTILE,
        "message": "",
        "splats": [],
        "console": f"/elsewhere/try-{position}/console/a.log",
        "log": None,
        "seconds": 1.0,
        "cached": False,
        "reproduce": f"harness run --position {position}",
    }
    for position, verdict in ((0, "passes"), (4, "fails"), (2, "no verdict"), (1, "passes"))
]
BISECT = {
    "schema": 1,
    "tests": ["test_a.py::test_x"],
    "first": None,
    "candidates": [{"position": n, "subject": f"subject {n}", "commit": None} for n in (2, 3, 4)],
    "before": STEPS[3],
    "after": STEPS[1],
    "steps": STEPS,
}
BENCH = {"boot_to_ssh": {"min": 1.0, "median": 2.0, "max": 3.0, "unit": "s", "runs": 5}}


@pytest.mark.parametrize("where", [".", "below"])
@pytest.mark.parametrize(
    ("name", "data", "told"),
    [
        ("coverage", COVERAGE, ("luo_core.c 8 6 75.0", "luo_core.c:3-4 f", "no memory", "nobody")),
        ("mutants", MUTANTS, ("1 of 2 killed|1 not as it should be", "survived", "patch 7 one")),
        ("bisect", BISECT, ("one of position 2, position 3, position 4", "asked as no. 3", "last")),
        ("bench", BENCH, ("boot_to_ssh 1.0 2.0 3.0 s 5",)),
    ],
)
def test_what_other_commands_leave_is_told(
    tmp_path: Path, name: str, data: Any, told: tuple[str, ...], where: str
) -> None:
    (tmp_path / where).mkdir(exist_ok=True)
    (tmp_path / where / f"{name}.json").write_text(json.dumps(data))
    page = Elements(render(tmp_path))
    text = re.sub(r"\s+", " ", page.text)
    for words in told:
        assert re.search(words, text), words
    assert not any(tag == "img" for tag, _ in page.tags)


def test_figure_without_a_value_says_why(tmp_path: Path) -> None:
    none = dict.fromkeys(("min", "median", "max"))
    lost = none | {"unit": "s", "runs": 0, "error": "no QEMU\nmore"}
    (tmp_path / "bench.json").write_text(json.dumps(BENCH | {"clone_to_ssh": lost}))
    text = re.sub(r"\s+", " ", Elements(render(tmp_path)).text)
    assert "boot_to_ssh 1.0 2.0 3.0 s 5" in text
    assert "clone_to_ssh ? not measured: no QEMU" in text
    assert "more" not in text.partition("not measured")[2].partition("under test")[0]


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        (
            "mutants",
            {"schema": 1, "mutants": [{"name": "one", "fate": "dead"}]},
            r"mutants\[0\]: lacks 'what'",
        ),
        ("coverage", {"schema": 1, "percent": "all"}, r"percent: 'all' is not a number"),
        ("bench", {"boot_to_ssh": {"min": "1"}}, r"boot_to_ssh\.min: '1' is not a number"),
    ],
)
def test_damaged_file_is_told_with_the_place(
    tmp_path: Path, name: str, data: Any, said: str
) -> None:
    (tmp_path / f"{name}.json").write_text(json.dumps(data))
    with pytest.raises(SpecError, match=said):
        render(tmp_path)


def test_coverage_of_gcovr_itself_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "coverage").mkdir()
    (tmp_path / "coverage" / "coverage.json").write_text('{"gcovr/format_version": 1, "files": []}')
    (tmp_path / "bench.json").write_text(json.dumps(BENCH))
    assert 'id="coverage"' not in render(tmp_path)


def test_bisection_shows_consoles_wherever_its_directory_was_moved(tmp_path: Path) -> None:
    (tmp_path / "try-4" / "console").mkdir(parents=True)
    (tmp_path / "try-4" / "console" / "a.log").write_text("the last words")
    (tmp_path / "bisect.json").write_text(json.dumps(BISECT))
    assert "the last words" in render(tmp_path)


# -- in a browser ----------------------------------------------------------------------------


def sandbox_works() -> bool:
    """Whether Chromium's sandbox can: it refuses root, and needs a user namespace.

    There is none in a chroot, in most containers, and where the system forbids them to users.
    Pages of our own need no sandbox; without one the browser would end before it began.
    """
    if os.geteuid() == 0:
        return False
    return subprocess.run(["unshare", "--user", "true"], capture_output=True).returncode == 0


@pytest.fixture(scope="module")
def chromium() -> Iterator[webdriver.Chrome]:
    options = webdriver.ChromeOptions()
    for word in ("--headless=new", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(word)
    if not sandbox_works():
        options.add_argument("--no-sandbox")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    service = webdriver.ChromeService(executable_path="/usr/bin/chromedriver")
    browser = webdriver.Chrome(options=options, service=service)
    yield browser
    browser.quit()


@pytest.fixture
def page(chromium: webdriver.Chrome, matrix: Path) -> webdriver.Chrome:
    chromium.set_window_size(1280, 900)
    chromium.get_log("browser")
    chromium.get_log("performance")
    chromium.get(write_report(matrix, SECTIONS).as_uri())
    return chromium


def shown_rows(page: webdriver.Chrome) -> list[str]:
    rows = page.find_elements(By.CSS_SELECTOR, "#matrix tr[data-test]")
    return [
        row.get_dom_attribute("data-test").partition("::")[2] for row in rows if row.is_displayed()
    ]


def test_browser_has_nothing_to_complain_about(page: webdriver.Chrome) -> None:
    assert page.title == "A series"
    assert page.get_log("browser") == []
    sent = [json.loads(entry["message"])["message"] for entry in page.get_log("performance")]
    urls = [
        m["params"]["request"]["url"] for m in sent if m["method"] == "Network.requestWillBeSent"
    ]
    assert [url for url in urls if not url.startswith("file:")] == []
    assert len(urls) == 1


def test_browser_breaks_no_file_name_that_fits_a_line(
    broken: Path, chromium: webdriver.Chrome
) -> None:
    chromium.set_window_size(1280, 900)
    chromium.get(write_report(broken, SECTIONS).as_uri())
    chromium.find_element(By.ID, "fold").click()
    names = chromium.find_elements(By.CSS_SELECTOR, "#matrix tr[data-test] th .soft")
    heights = {name.text.replace("\n", ""): name.size["height"] for name in names}
    assert heights["test_preserve.py"] == heights["test_a.py"]


def test_browser_filters_rows(page: webdriver.Chrome) -> None:
    page.find_element(By.ID, "fold").click()
    assert sorted(shown_rows(page)) == ["test_flips", "test_odd", "test_plain", "test_simple"]
    words = page.find_element(By.ID, "words")
    words.send_keys("FLIP")
    assert shown_rows(page) == ["test_flips"]
    words.send_keys(Keys.CONTROL, "a")
    words.send_keys("a.py simple")
    assert shown_rows(page) == ["test_simple"]
    assert page.find_element(By.ID, "shown").text == "1 test"
    words.send_keys(Keys.CONTROL, "a")
    words.send_keys(Keys.DELETE)
    page.find_element(By.ID, "only-flips").click()
    assert sorted(shown_rows(page)) == ["test_flips", "test_odd"]
    page.find_element(By.ID, "only-odd").click()
    assert shown_rows(page) == ["test_odd"]


def panel(page: webdriver.Chrome) -> WebElement:
    return page.find_element(By.ID, "panel")


def test_browser_opens_the_evidence_of_a_mark_by_keyboard(page: webdriver.Chrome) -> None:
    mark = page.find_element(By.CSS_SELECTOR, "#matrix tr[data-test] td[tabindex='0']")
    page.execute_script("arguments[0].focus()", mark)
    page.switch_to.active_element.send_keys(Keys.ARROW_RIGHT)
    page.switch_to.active_element.send_keys(Keys.ENTER)
    assert panel(page).is_displayed()
    for words in ("test_b.py::test_odd", "position 1, default", "at file.c:12", "line 199"):
        assert words in panel(page).text
    assert "harness run --position 1 --expected -- test_b.py::test_odd" in panel(page).text
    page.switch_to.active_element.send_keys(Keys.ESCAPE)
    assert not panel(page).is_displayed()
    assert page.switch_to.active_element.tag_name == "td"


def test_browser_goes_from_position_to_position_in_the_panel(page: webdriver.Chrome) -> None:
    page.find_element(By.CSS_SELECTOR, "#matrix tr[data-test] td.bad").click()
    page.find_element(By.ID, "panel-on").click()
    assert "position 2, default" in panel(page).text
    assert "p02-default/console/odd.log" in panel(page).text
    assert "harness run --position 2 --expected -- 'test_b.py::test_odd'" in (panel(page).text)
    assert not page.find_element(By.ID, "panel-on").is_enabled()


def test_browser_shows_what_an_address_points_to(page: webdriver.Chrome) -> None:
    page.execute_script("location.hash = 'p01-default-test-b-py-test-odd'")
    WebDriverWait(page, 5).until(lambda _: panel(page).is_displayed())
    assert "at file.c:12" in panel(page).text


def test_browser_stays_where_evidence_was_asked_for(page: webdriver.Chrome) -> None:
    page.find_element(By.CSS_SELECTOR, "#matrix tr[data-test] td.bad").click()
    page.find_element(By.ID, "panel-close").click()
    link = page.find_element(By.CSS_SELECTOR, "a.more")
    page.execute_script("arguments[0].scrollIntoView({block: 'center'})", link)
    before = page.execute_script("return window.scrollY")
    link.send_keys(Keys.ENTER)
    assert "at file.c:12" in panel(page).text
    page.find_element(By.ID, "panel-close").send_keys(Keys.ENTER)
    assert not panel(page).is_displayed()
    page.execute_async_script("setTimeout(arguments[0], 50)")  # closing is told a moment later
    assert page.switch_to.active_element == link
    assert page.execute_script("return window.scrollY") == before


def test_browser_shows_hostile_text_as_text(page: webdriver.Chrome) -> None:
    page.execute_script("location.hash = 'p00-default-test-a-py-test-flips'")
    WebDriverWait(page, 5).until(lambda _: panel(page).is_displayed())
    assert HOSTILE in panel(page).text
    assert page.title == "A series"
    assert page.find_elements(By.TAG_NAME, "img") == []
    assert len(page.find_elements(By.TAG_NAME, "script")) == 1
    assert page.get_log("browser") == []


def test_browser_folds_what_is_as_it_should_be(page: webdriver.Chrome) -> None:
    assert shown_rows(page) == ["test_odd"]
    heading = page.find_element(By.XPATH, "//tr[@class='group']//button[contains(., 'everywhere')]")
    assert heading.get_dom_attribute("aria-expanded") == "false"
    heading.send_keys(Keys.ENTER)
    assert heading.get_dom_attribute("aria-expanded") == "true"
    assert sorted(shown_rows(page)) == ["test_odd", "test_plain", "test_simple"]


def test_browser_shows_the_end_of_a_console(page: webdriver.Chrome) -> None:
    page.find_element(By.CSS_SELECTOR, "#matrix tr[data-test] td.bad").click()
    console = panel(page).find_element(By.CSS_SELECTOR, "pre.console")
    left = page.execute_script(
        "const c = arguments[0]; return c.scrollHeight - c.clientHeight - c.scrollTop", console
    )
    assert left < 2


@pytest.mark.parametrize("width", [375, 1280])
def test_browser_scrolls_the_page_one_way_only(page: webdriver.Chrome, width: int) -> None:
    page.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500},
    )
    try:
        wide = "return document.documentElement.scrollWidth"
        assert page.execute_script(wide) <= width
        page.execute_script("for (const d of document.querySelectorAll('details')) d.open = true")
        page.find_element(By.ID, "fold").click()
        assert page.execute_script(wide) <= width
        page.find_element(By.CSS_SELECTOR, "a.more").click()
        assert page.execute_script("return arguments[0].scrollWidth", panel(page)) <= width
    finally:
        page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


PAIRS = (
    *((text, back) for text in ("text", "soft", "accent") for back in ("page", "card")),
    *((kind, f"{kind}-back") for kind in ("ok", "stated", "either", "bad", "error", "skip")),
    *(("text", "mono-back"), ("soft", "mono-back")),
)
PICTURES = tuple(
    (f"bar-{stage}", "card")
    for stage in ("preserve", "load", "blackout", "retrieve", "verify", "finish")
)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_and_pictures_have_enough_contrast(scheme: str) -> None:
    """WCAG 2.1 AA: 4.5 for text (1.4.3), 3 for pictures (1.4.11)."""
    colours: dict[str, str] = {}
    for path in (
        Path(harness.report.page.__file__).parent / "page.css",
        Path(harness.liveupdate.section.__file__).parent / "section.css",
    ):
        light, _, dark = path.read_text().partition("@media (prefers-color-scheme: dark)")
        style = light if scheme == "light" else dark
        colours |= dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", style))
    wrong = {
        pair: _contrast(colours[pair[0]], colours[pair[1]])
        for pairs, least in ((PAIRS, 4.5), (PICTURES, 3.0))
        for pair in pairs
        if _contrast(colours[pair[0]], colours[pair[1]]) < least
    }
    assert wrong == {}


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_browser_shows_the_colours_of_the_scheme(page: webdriver.Chrome, scheme: str) -> None:
    page.execute_cdp_cmd(
        "Emulation.setEmulatedMedia",
        {"features": [{"name": "prefers-color-scheme", "value": scheme}]},
    )
    page_colour = page.execute_script("return getComputedStyle(document.body).backgroundColor")
    bright = sum(map(int, re.findall(r"\d+", page_colour))) > 3 * 128
    assert bright == (scheme == "light")


def test_browser_prints_every_test(page: webdriver.Chrome) -> None:
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    try:
        assert len(shown_rows(page)) == 4
        assert not page.find_element(By.ID, "filter").is_displayed()
    finally:
        page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})


def _contrast(one: str, other: str) -> float:
    """Return the contrast ratio of two colours (WCAG 2.1, 1.4.3)."""
    lighter, darker = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(colour: str) -> float:
    parts = [int(colour[n : n + 2], 16) / 255 for n in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
