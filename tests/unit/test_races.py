# SPDX-License-Identifier: GPL-2.0-only
"""The fixture ``races``: which seeds there are, and what a test that fails says of its schedule."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.base.settings import SETTINGS

pytest_plugins = ["pytester"]

TEST = """\
def test_one(races):
    for seed in races.seeds():
        made = races.schedule(
            seed, [(("pause", "1"),), (("pause", "2"),)], actors=3, operations=4, time_ms=7
        )
        print(f"made: {made.seed} {made.time_ms} {made.actors}")
    assert not SEEN
"""


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for one in SETTINGS:
        monkeypatch.delenv(one.variable, raising=False)


@pytest.fixture
def suite(pytester: pytest.Pytester) -> Path:
    """A suite of one test; it fails when there is a file called ``fail``."""
    pytester.makefile(".yaml", suite="name: own\ntests: .\n")
    pytester.makepyfile(
        test_own="from pathlib import Path\nSEEN = Path('fail').exists()\n\n\n" + TEST
    )
    return pytester.path


def made(pytester: pytest.Pytester, *words: str) -> list[str]:
    """Run the test; return what schedules there were."""
    options = (f"--harness-suite={pytester.path}", f"--harness-results={pytester.path / 'out'}")
    done = pytester.runpytest_subprocess("-s", "-p", "no:cacheprovider", *options, *words)
    (pytester.path / "said").write_text("\n".join(done.outlines))
    return [line.partition("made: ")[2] for line in done.outlines if "made: " in line]


def test_one_seed_is_run_and_the_same_again(pytester: pytest.Pytester, suite: Path) -> None:
    first = made(pytester)
    assert len(first) == 1
    assert first[0].startswith("1 7 (")
    assert made(pytester) == first
    assert made(pytester, "--harness-seed=2")[0].startswith("2 7 (")


def test_further_seeds_come_as_long_as_was_asked(pytester: pytest.Pytester, suite: Path) -> None:
    found = made(pytester, "--harness-races=1", "--harness-seed=5")
    assert [int(line.split()[0]) for line in found[:3]] == [5, 6, 7]


def test_failure_says_how_it_is_seen_again(pytester: pytest.Pytester, suite: Path) -> None:
    (suite / "fail").touch()
    made(pytester, "--harness-seed=5")
    said = (suite / "said").read_text()
    assert "seed 5, on and on, 7 ms" in said
    assert "again:    harness run --seed 5 -- test_own.py::test_one" in said
    file = suite / "out" / "schedules" / "test_own.py-test_one.json"
    assert f"minimize: harness minimize {file} --test test_own.py::test_one" in said


def test_schedule_that_was_kept_is_run_again(pytester: pytest.Pytester, suite: Path) -> None:
    first = made(pytester, "--harness-seed=9")
    (kept,) = (suite / "out" / "schedules").iterdir()
    item = json.loads(kept.read_text())
    assert item["seed"] == 9
    item["actors"] = item["actors"][:1]
    (suite / "fewer.json").write_text(json.dumps(item))
    (again,) = made(pytester, f"--harness-schedule={suite / 'fewer.json'}", "--harness-races=60")
    actor = ", ".join(str(tuple(words)) for words in item["actors"][0])
    assert again == f"9 7 (({actor}),)"
    assert first[0].startswith(again[: -len(",)")])


@pytest.mark.parametrize(
    ("word", "text"),
    [
        ("--harness-seed=x", "seed must be a whole number, not 'x'"),
        ("--harness-races=1.5", "races must be a whole number, not '1.5'"),
        ("--harness-schedule=nowhere.json", "cannot read nowhere.json"),
    ],
)
def test_wrong_setting_ends_the_session(
    pytester: pytest.Pytester, suite: Path, word: str, text: str
) -> None:
    assert made(pytester, word) == []
    assert text in (suite / "said").read_text()
