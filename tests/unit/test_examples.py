# SPDX-License-Identifier: GPL-2.0-only
"""Every example of documents and ``--help`` is understood, and those without a machine run."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from command_examples import (
    AT_A_TERMINAL,
    NOT_RUN,
    ROOT,
    WITH_MACHINE,
    WITHOUT_MACHINE,
    Run,
    in_documents,
    in_help,
    run,
)
from patches import write_kernel
from runs import run_of
from shipped import SERIES, SUITE

from harness.base.store import Store
from harness.base.suite import load_suite
from harness.cli import main
from harness.results.history import History
from harness.results.results import Outcome, TestResult, read_results
from harness.run.cell import find_test

TABLES = (WITHOUT_MACHINE, WITH_MACHINE, AT_A_TERMINAL, NOT_RUN)
RUN = WITHOUT_MACHINE | WITH_MACHINE | AT_A_TERMINAL
EXAMPLES = sorted({*in_help(), *in_documents()})


def words_of(example: str) -> list[str] | None:
    """Return the arguments that an example gives to ``harness``, ``None`` when it does not."""
    words = [
        word
        for word in shlex.split(RUN.get(example, Run()).command_of(example))
        if not word.startswith((">", "<"))
    ]
    for start in (["harness"], ["git", "bisect", "run", "harness"]):
        if words[: len(start)] == start:
            return words[len(start) :]
    return None


def halves(words: list[str]) -> tuple[list[str], list[str]]:
    """Return the command's own words, and those behind ``--``, which are pytest's."""
    at = words.index("--") if "--" in words else len(words)
    return words[:at], words[at + 1 :]


HARNESS = [example for example in EXAMPLES if words_of(example) is not None]


def test_examples_are_found() -> None:
    assert "harness run -- -k module -x" in in_help()
    assert "harness run --position 0 -- -k test_module" in in_documents()
    assert "harness run --cc gcc-14" in in_documents()
    assert "scripts/run" in in_documents()
    assert "cd mysuite" in in_documents()
    assert "export HARNESS_DOWNLOADS=~/packages" in in_documents()


def test_every_example_is_run_or_says_why_not() -> None:
    assert [example for example in EXAMPLES if not any(example in table for table in TABLES)] == []


def test_no_example_is_listed_that_is_gone_or_twice() -> None:
    listed = [example for table in TABLES for example in table]
    assert sorted(listed) == sorted(set(listed) & set(EXAMPLES))


@pytest.mark.parametrize("example", HARNESS)
def test_example_is_what_the_command_takes(example: str) -> None:
    args = main._parser().parse_args(halves(words_of(example) or [])[0])
    given = getattr(args, "suite", None)
    suite = load_suite(ROOT / given) if given else SUITE
    for test in getattr(args, "tests", ()):
        find_test(test, suite)
    written = args.command == "mutants" and not args.generated
    for name in args.names if written else ():
        assert list((ROOT / "tests/mutants").glob(f"??-{name}.patch")), name


OTHERS = {"harness run -- -k dumpable"}
"""What selects tests of another suite than the shipped one, beside all with ``--suite``."""

SHIPPED = [example for example in HARNESS if "--suite" not in example and example not in OTHERS]
SELECTED = sorted({shlex.join(halves(words_of(example) or [])[1]) for example in SHIPPED} - {""})


@pytest.mark.parametrize("words", SELECTED)
def test_example_selects_tests_with_words_that_pytest_takes(words: str) -> None:
    further = [f"tests/guest/{w}" if w.endswith(".py") else w for w in shlex.split(words)]
    if not any(word.endswith(".py") for word in further):
        further.append("tests/guest")
    if "two_kernels" in further:
        further.append("--harness-to=7.3.4")  # as the example has it in words of its own
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", *further],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A directory with everything that the examples name, in small."""
    directory = tmp_path / "results" / "20261124-104716"
    write_results(directory)
    (tmp_path / "results" / "latest").symlink_to("20261124-104716")
    with Store(tmp_path / "cache").produce("build", "k") as entry:
        (entry / "kernel").write_bytes(b"x")
    with History(tmp_path / "history.sqlite") as history:
        found = read_results(directory / "results.json")
        history.add_run(found, directory=tmp_path, inputs="i")
    write_tree(tmp_path / "linux")
    texts = [path.read_bytes() for path in sorted(SERIES.glob("00*.patch"))]
    (tmp_path / "v4.mbx").write_bytes(b"".join(texts))
    (tmp_path / "mail").write_bytes(texts[7])
    (tmp_path / "0005-mm-Defer.patch").write_bytes(texts[5])
    git(tmp_path, "init", "-q")
    return tmp_path


def git(repo: Path, *words: str) -> None:
    identity = ["-c", "user.name=A", "-c", "user.email=a@example.com"]
    subprocess.run(["git", *identity, "-C", repo, *words], check=True, capture_output=True)


def write_tree(path: Path) -> None:
    """Write a git tree that looks like a kernel from outside, with a tag and two commits more."""
    write_kernel(path)
    git(path, "init", "-q", "-b", "master")
    for number in range(3):
        (path / "kernel/new.c").write_text(f"int new = {number};\n")
        git(path, "add", ".")
        git(path, "commit", "-qm", f"kernel: new is {number}")
        if number == 0:
            git(path, "tag", "v7.0")


def write_results(directory: Path) -> None:
    directory.mkdir(parents=True)
    test = TestResult(id="test_memfd.py::test_x", outcome=Outcome.PASSED, seconds=0.1)
    run_of(test, builds={"0": "b" * 64}).write(directory / "results.json")


@pytest.mark.parametrize("example", sorted(WITHOUT_MACHINE))
def test_example_runs(home: Path, example: str) -> None:
    how = WITHOUT_MACHINE[example]
    done = run(example, how, home, home / "cache")
    assert done.returncode in how.codes, done.stdout
    assert how.says in done.stdout
    assert "Traceback" not in done.stdout
