# SPDX-License-Identifier: GPL-2.0-only
"""What a kernel holds while nothing runs is counted, and has to be as before after every test."""

from __future__ import annotations

import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest

from harness.base.errors import GuestError
from harness.base.timeouts import GUEST
from harness.guest.idle import read_idle, what_is_left

pytest_plugins = ["pytester"]


class Shell:
    """A machine whose shell is the host's."""

    timeouts = GUEST.scaled(0.1)

    def check(self, words: list[str]) -> str:
        return subprocess.run(words, check=True, capture_output=True, text=True).stdout


MACHINE: Any = Shell()


def test_counts_have_the_names_of_their_commands() -> None:
    counts = {"files": "echo 34", "pages": "true; echo -1"}
    assert read_idle(MACHINE, counts) == {"files": 34, "pages": -1}
    assert read_idle(MACHINE, {}) == {}


@pytest.mark.parametrize("command", ["echo many", "true", "echo 1 2"])
def test_what_is_no_number_is_trouble_of_the_guest(command: str) -> None:
    with pytest.raises(GuestError, match="no numbers"):
        read_idle(MACHINE, {"files": command})


def test_more_than_before_is_said_with_both_numbers(tmp_path: Path) -> None:
    (tmp_path / "files").write_text("36")
    counts = {"open files": f"cat {tmp_path}/files; echo", "pages": "echo 0"}
    left = what_is_left(MACHINE, counts, {"open files": 34, "pages": 0})
    assert left == "not given back after the test: open files: 36, 34 before"
    assert what_is_left(MACHINE, counts, {"open files": 36, "pages": 2}) is None


def test_what_is_given_back_a_little_later_is_waited_for(tmp_path: Path) -> None:
    (tmp_path / "files").write_text("36")
    later = threading.Timer(0.05, lambda: (tmp_path / "files").write_text("34"))
    later.start()
    counts = {"open files": f"cat {tmp_path}/files; echo"}
    assert what_is_left(MACHINE, counts, {"open files": 34}) is None
    later.join()


TESTS = """
import subprocess
import pytest
from harness.base.timeouts import GUEST
from harness.guest.template import Started
from harness.plugin.session import Session

class Machine:
    processor_time = None
    timeouts = GUEST.scaled(0.01)
    def __init__(self):
        self.closed, self.files = False, 34
    def clean_up(self):
        return None
    def check(self, words):
        return f"{self.files}"
    def close(self):
        self.closed = True

def boot(session, position=None):
    session._booted("7.0", 0.0, f"00{len(session.boots) + 1}", None)
    return Started(Machine(), None, cloned=False)

Session.boot = boot

@pytest.fixture(scope="session")
def kernel():
    pass

def test_that_leaks(machine):
    machine.files += 1

def test_after_it(machine):
    assert machine.files == 34

def test_that_closes_again(machine):
    machine.files += 1
    machine.files -= 1
"""


def test_test_that_leaves_more_behind_fails_and_the_next_has_another_machine(
    pytester: pytest.Pytester,
) -> None:
    (pytester.path / "suite.yaml").write_text("name: a\ntests: .\nidle: {open files: count}\n")
    pytester.makepyfile(test_it=TESTS)
    done = pytester.runpytest_subprocess("-s", "-p", "no:cacheprovider")
    done.assert_outcomes(passed=3, errors=1)
    assert "open files: 35, 34 before" in done.stdout.str()
