# SPDX-License-Identifier: GPL-2.0-only
"""What scripts/host makes of what its commands print."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]


def load() -> Any:
    loader = importlib.machinery.SourceFileLoader("host", str(ROOT / "scripts" / "host"))
    spec = importlib.util.spec_from_loader("host", loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    loader.exec_module(module)
    sys.dont_write_bytecode = before
    return module


host = load()


def row(suite: str, command: str = "scripts/run", outcome: str = "exit code 0") -> dict[str, Any]:
    return dict.fromkeys(host.COLUMNS, "x") | {
        "suite": suite,
        "command": command,
        "outcome": outcome,
    }


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("== 57 passed in 111.02s ==\n64 passed in 111 s\n", "57 passed"),
        ("== 3 passed, 46 deselected in 14.34s ==\n", "3 passed"),
        (
            "1 failed, 2 passed in 3s\n4 passed, 1 error in 313.26s (0:05:13)\n",
            "1 failed, 6 passed, 1 error",
        ),
        ("12 failed, 44 passed, 2 errors in 9.10s\n", "12 failed, 44 passed, 2 error"),
    ],
)
def test_counts_of_all_calls_of_pytest_are_added(text: str, said: str) -> None:
    assert host.outcome(1, f"noise\n{text}more in 3 s\n") == f"exit code 1, {said}"


def test_command_without_tests_has_an_exit_code_only() -> None:
    assert host.outcome(7, "downloaded 3 files in 2 s, all well\n") == "exit code 7"


def test_row_takes_the_place_of_the_older_one() -> None:
    page = f"above\n\n{host.MARKS[0]}\n{host.MARKS[1]}\n\nbelow\n"
    page = host.enter(page, [row("trixie", outcome="old"), row("sid")])
    page = host.enter(page, [row("trixie", outcome="new"), row("trixie", "a | b")])
    assert page.startswith("above\n")
    assert page.endswith("\n\nbelow\n")
    assert "old" not in page
    suites = [line.split()[1] for line in page.splitlines() if line.startswith("|")]
    assert suites == ["suite", "---", "sid", "trixie", "trixie"]
    assert host.enter(page, [row("sid")]) == page


def test_page_without_a_place_for_the_table_is_refused() -> None:
    with pytest.raises(SystemExit):
        host.enter("nothing", [row("sid")])


def test_shipped_page_has_a_place_for_the_table() -> None:
    assert "| sid | scripts/run |" in host.enter(
        (ROOT / "docs" / "hosts.md").read_text(), [row("sid")]
    )


def test_told_are_files_and_values_but_no_directories(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in os.environ:
        monkeypatch.delenv(name)
    (tmp_path / "ca.crt").touch()
    told = {
        "PIP_CERT": f"{tmp_path}/ca.crt",
        "https_proxy": "http://proxy:3128",
    }
    for name, value in (told | {"PIP_FIND_LINKS": str(tmp_path), "SECRET": "x"}).items():
        monkeypatch.setenv(name, value)
    assert host.told() == told


def test_failing_command_is_passed_on_with_what_it_said(tmp_path: Path) -> None:
    with pytest.raises(subprocess.CalledProcessError) as caught:
        host.run(["sh", "-c", "echo said; exit 7"], tmp_path / "log")
    assert caught.value.returncode == 7
    assert (tmp_path / "log").read_text() == "said\n"


@pytest.mark.parametrize(("deaf", "last"), [("", signal.SIGINT), ("trap '' INT; ", signal.SIGKILL)])
def test_interrupted_command_is_ended(
    monkeypatch: pytest.MonkeyPatch, deaf: str, last: signal.Signals
) -> None:
    monkeypatch.setattr(host, "SOFT_S", 0.5)
    process = subprocess.Popen(
        ["sh", "-c", f"{deaf}echo; sleep 1000; sleep 1000"],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    process.stdout.readline()
    host.end(process)
    assert process.returncode == -last
