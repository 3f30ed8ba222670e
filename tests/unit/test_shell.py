# SPDX-License-Identifier: GPL-2.0-only
"""Completion in real shells, and a manual page that man's own checker has nothing against."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pexpect
import pytest

from harness.cli import main
from harness.cli.shell import commands_of, manual_page, roff

ROOT = Path(__file__).resolve().parents[2]
PARSER = main._parser()

DEADLINE_S = 180
"""Seconds for a program; it only ends what hangs."""


def tool(name: str) -> str:
    found = shutil.which(name)
    assert found is not None, f"there is no {name}: scripts/test installs it"
    return found


def environment(home: Path) -> dict[str, str]:
    clean = {name: value for name, value in os.environ.items() if "HARNESS" not in name}
    return clean | {
        "HARNESS_CACHE": str(home / "cache"),
        "HOME": str(home),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "TERM": "dumb",
    }


def harness(home: Path, *words: str, **further: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "harness", *words],
        cwd=home,
        env=environment(home) | further,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
    )


# -- completion ------------------------------------------------------------------------------


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_completion_is_what_the_shell_can_read(tmp_path: Path, shell: str) -> None:
    done = harness(tmp_path, "completion", shell)
    assert (done.returncode, done.stderr) == (0, "")
    read = subprocess.run([tool(shell), "-n"], input=done.stdout, capture_output=True, text=True)
    assert (read.returncode, read.stderr) == (0, "")


COMPLETED = {
    "harness mat": ["matrix"],
    "harness matrix --keep": ["--keep-going"],
    "harness run --kernel 7.0.1": ["7.0.13"],
    "harness run --profile sel": ["selfcheck"],
    "harness run --suite own --profile b": ["big"],
    "harness run --suite absent --profile b": [],
    "harness matrix --profile cov": ["coverage"],
    "harness bisect --suite own --test test_o": ["test_own_thing"],
    "harness mutants flb-list": ["flb-list-not-initialized"],
    "harness mutants --suite own flb": [],
    "harness report results/2": ["results/20261124-104716"],
    "harness summary results/l": ["results/latest"],
    "harness init ow": ["own/"],
}

ASK = """
import os, sys
from harness.cli import main
for line in sys.argv[1:]:
    if os.fork() == 0:
        os.environ["COMP_LINE"], os.environ["COMP_POINT"] = line, str(len(line))
        os.environ["_ARGCOMPLETE_STDOUT_FILENAME"] = f"completed {line.replace('/', '-')}"
        main.run_command([])
    os.wait()
"""
"""Asks for all lines as the shells do, without a start of the program for each."""


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with results and a suite, and what was answered there."""
    home = tmp_path_factory.mktemp("home")
    for name in ("results/20261124-104716", "results/latest", "own/tests"):
        (home / name).mkdir(parents=True)
    (home / "own/suite.yaml").write_text(
        "name: own\ntests: tests\nprofiles:\n  big:\n    description: with room\n"
        "    fragments: [base.config]\n    memory_mib: 2048\n"
    )
    (home / "own/tests/test_own.py").write_text("def test_own_thing(guest):\n    pass\n")
    subprocess.run(
        [sys.executable, "-c", ASK, *COMPLETED],
        cwd=home,
        env=environment(home) | {"_ARGCOMPLETE": "1", "_ARGCOMPLETE_IFS": "\n"},
        check=True,
        timeout=DEADLINE_S,
    )
    return home


@pytest.mark.parametrize("line", COMPLETED)
def test_word_is_completed(asked: Path, line: str) -> None:
    answer = (asked / f"completed {line.replace('/', '-')}").read_text()
    assert [word.strip() for word in answer.splitlines()] == COMPLETED[line]


@pytest.fixture(params=["bash", "zsh"])
def shell(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[pexpect.spawn[str]]:
    """A shell at a terminal that has read the completion."""
    script = tmp_path / "completion"
    script.write_text(harness(tmp_path, "completion", request.param).stdout)
    words = {"bash": ["--norc", "--noprofile", "-i"], "zsh": ["-f", "-i"]}[request.param]
    begin = {"bash": "", "zsh": "autoload -Uz compinit; compinit -u -D; "}[request.param]
    child = pexpect.spawn(
        tool(request.param),
        words,
        cwd=str(tmp_path),
        env=environment(tmp_path),
        encoding="utf-8",
        timeout=DEADLINE_S,
    )
    child.sendline(f"{begin}. {script}; PS1='ready'; echo $((6 * 7))nd")
    child.expect("42nd")
    child.expect("ready")
    try:
        yield child
    finally:
        child.close(force=True)


def test_tab_completes(shell: pexpect.spawn[str]) -> None:
    shell.send("harness mat\t")
    shell.expect("rix ")
    shell.send("--keep\t")
    shell.expect("-going ")
    shell.send("--profile sel\t")
    shell.expect("fcheck")


# -- the manual page -------------------------------------------------------------------------


def test_manual_page_is_printed_without_a_warning(tmp_path: Path) -> None:
    done = harness(tmp_path, "man")
    assert (done.returncode, done.stderr) == (0, "")
    page = tmp_path / "harness.1"
    page.write_text(done.stdout)
    said = subprocess.run(
        [tool("mandoc"), "-Tlint", "-Wwarning", page],
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
    )
    assert (said.returncode, said.stdout) == (0, "")


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The page as a reader sees it, its words separated by single blanks."""
    page = tmp_path_factory.mktemp("man") / "harness.1"
    page.write_text(manual_page(PARSER))
    done = subprocess.run([tool("mandoc"), "-Tascii", page], capture_output=True, text=True)
    plain = subprocess.run(["sed", "s/.\x08//g"], input=done.stdout, capture_output=True, text=True)
    return " ".join(plain.stdout.split())


@pytest.mark.parametrize("command", [name for name, _ in commands_of(PARSER)])
def test_manual_page_has_every_command_and_option(shown: str, command: str) -> None:
    (parser,) = [parser for name, parser in commands_of(PARSER) if name == command]
    begin = shown.index(f" harness {command} {parser.description}")
    for name in (name for action in parser._actions for name in action.option_strings):
        assert name in shown[begin:] or name == "--help", name
    for line in (parser.epilog or "").splitlines()[1:]:
        assert " ".join(line.split()) in shown[begin:]


@pytest.mark.parametrize("line", [".x", "'x", r"\fBx", "-x", "^~`x'"])
def test_what_roff_would_take_for_its_own_is_text(tmp_path: Path, line: str) -> None:
    page = tmp_path / "page.1"
    page.write_text(f".TH X 1 2026-11-24\n.SH NAME\nx\n.nf\n{roff(line)}\nend\n")
    done = subprocess.run([tool("mandoc"), "-Tascii", page], capture_output=True, text=True)
    assert f"{line}\n" in done.stdout
