# SPDX-License-Identifier: GPL-2.0-only
"""What the how-tos show besides commands: each is what it is said to be."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import howto
import pytest

from harness.base.suite import load_suite

KNOWN = {"", "c", "python", "yaml"}
"""Languages of what they show that :mod:`howto` takes."""


def plan(directory: Path, *words: str | Path) -> str:
    """Return what pytest would do with the tests of a suite, and with which fixtures."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--setup-plan", "-p", "no:cacheprovider", *words],
        cwd=directory,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_every_language_of_the_how_tos_is_known() -> None:
    for path in (howto.ROOT / "docs" / "howto").glob("*.md"):
        fences = [line.strip() for line in path.read_text().splitlines() if "```" in line]
        assert {fence.removeprefix("```") for fence in fences} <= KNOWN, path.name


def test_what_the_how_tos_show_makes_a_suite(tmp_path: Path) -> None:
    suite = load_suite(howto.write_suite(tmp_path / "suite"))
    assert [module.name for module in suite.modules] == ["probe"]
    assert [path.name for path in suite.image.programs] == ["dumpable.c"]
    assert "lockdep.config" in [path.name for path in suite.profile("lockdep").fragments]
    text = plan(suite.root, "--harness-suite=.")
    assert "::test_program_runs (fixtures used: " in text
    assert "::test_probe_counts (fixtures used: " in text


def test_program_of_the_how_to_compiles_without_a_warning(tmp_path: Path) -> None:
    (source,) = load_suite(howto.write_suite(tmp_path / "suite")).image.programs
    words = ["gcc", "-static", "-O2", "-Wall", "-Wextra", "-Werror", "-o", tmp_path / "a", source]
    subprocess.run(words, check=True)
    done = subprocess.run([tmp_path / "a", "echo", "here"], capture_output=True, text=True)
    assert done.stdout == "here\n"


@pytest.mark.parametrize("name", howto.OF_THE_SHIPPED_SUITE)
def test_tests_of_the_how_to_have_their_fixtures(tmp_path: Path, name: str) -> None:
    file = howto.write_tests(name, tmp_path / "test_howto.py")
    planned = re.findall(r"::(test_\w+) \(fixtures used: ", plan(howto.ROOT, file))
    shown = re.findall(r"def (test_\w+)", "".join(howto.snippets(name, "python")))
    assert planned == shown != []
