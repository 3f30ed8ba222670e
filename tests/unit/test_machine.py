# SPDX-License-Identifier: GPL-2.0-only
"""A guest is good for nothing that lacks what its suite needs; its modules are found by name."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from harness.base.errors import PreconditionError
from harness.base.suite import Preconditions
from harness.guest.machine import Machine
from harness.guest.module import KernelModule

LOG = """\
[    0.000000] Linux version 7.0.13
[    0.100000] own: Failed to find room, switched off
[    0.200000] other: broken beyond repair
"""


class Guest:
    """A guest whose files are the host's, and whose kernel log is *log*."""

    def __init__(self, log: str) -> None:
        self.log = log
        self.asked = 0

    def dmesg(self) -> str:
        self.asked += 1
        return self.log


class Console:
    def __init__(self, log_file: Path) -> None:
        self.log_file = log_file


def machine(tmp_path: Path, wanted: Preconditions, log: str = LOG) -> Machine:
    """Return a machine in a guest, without QEMU."""

    class Started(Machine):
        def __init__(self) -> None:
            self._preconditions = wanted
            self._build: Any = type("Build", (), {"release": "7.0.13-p01"})
            self._guest: Any = Guest(log)
            self._modules = {}

        @property
        def console(self) -> Any:
            return Console(tmp_path / "console.log")

        def check(self, words: str | list[str], *, timeout_s: float = 10.0) -> str:
            done = subprocess.run(
                ["sh", "-c", str(words)], capture_output=True, text=True, check=True
            )
            return done.stdout

    return Started()


def refused(made: Machine) -> PreconditionError:
    with pytest.raises(PreconditionError) as caught:
        made._check_preconditions()
    return caught.value


# -- preconditions ---------------------------------------------------------------------------


def test_suite_that_needs_nothing_asks_nothing(tmp_path: Path) -> None:
    made = machine(tmp_path, Preconditions(reason="own"))
    made._check_preconditions()
    assert made.guest.asked == 0  # type: ignore[attr-defined]


def test_files_that_are_there_are_enough(tmp_path: Path) -> None:
    files = (tmp_path / "one", tmp_path / "a b")
    for file in files:
        file.touch()
    wanted = Preconditions(files=tuple(map(str, files)), reason="own: Failed")
    machine(tmp_path, wanted)._check_preconditions()


def test_missing_file_is_told_with_what_the_kernel_says(tmp_path: Path) -> None:
    (tmp_path / "one").touch()
    wanted = Preconditions(
        files=(str(tmp_path / "one"), str(tmp_path / "two")),
        reason="own: .*([Ff]ail|off)",
        hint="it needs own=on",
    )
    error = refused(machine(tmp_path, wanted))
    assert error.message == (
        f"7.0.13-p01 runs without {tmp_path / 'two'}: own: Failed to find room, switched off"
    )
    assert (error.hint, error.log) == ("it needs own=on", tmp_path / "console.log")


@pytest.mark.parametrize("reason", ["", "nothing says this"])
def test_missing_file_of_which_the_kernel_says_nothing(tmp_path: Path, reason: str) -> None:
    wanted = Preconditions(files=(str(tmp_path / "two"),), reason=reason)
    error = refused(machine(tmp_path, wanted))
    assert error.message.endswith("two: the kernel log does not say why")
    assert error.hint is None


def test_missing_file_goes_before_a_line_that_is_refused(tmp_path: Path) -> None:
    wanted = Preconditions(files=(str(tmp_path / "two"),), refused=("broken",))
    assert "runs without" in refused(machine(tmp_path, wanted)).message


def test_line_that_is_refused_is_quoted_without_its_time(tmp_path: Path) -> None:
    (tmp_path / "one").touch()
    wanted = Preconditions(
        files=(str(tmp_path / "one"),), refused=("absent", "^other: broken"), hint="mend it"
    )
    error = refused(machine(tmp_path, wanted))
    assert error.message == "7.0.13-p01 says while it boots: other: broken beyond repair"
    assert error.hint == "mend it"


def test_log_without_a_refused_line_is_good(tmp_path: Path) -> None:
    made = machine(tmp_path, Preconditions(refused=("absent", "never")))
    made._check_preconditions()
    assert made.guest.asked == 1  # type: ignore[attr-defined]


# -- modules ---------------------------------------------------------------------------------


class Talking(KernelModule):
    """A module that can be told something."""


def test_module_is_the_same_object_each_time(tmp_path: Path) -> None:
    made = machine(tmp_path, Preconditions())
    one = made.module("one")
    assert (one.name, one.path) == ("one", "/lib/harness/one.ko")
    assert made.module("one") is one
    assert made.module("two") is not one


def test_module_of_a_class_of_its_own_stays_one(tmp_path: Path) -> None:
    made = machine(tmp_path, Preconditions())
    talking = made.module_as("one", Talking)
    assert isinstance(talking, Talking)
    assert made.module("one") is talking
    assert made.module_as("one", Talking) is talking


def test_module_keeps_that_it_may_be_loaded_when_it_gets_a_class(tmp_path: Path) -> None:
    made = machine(tmp_path, Preconditions())
    made.module("one").may_be_loaded = True
    assert made.module_as("one", Talking).may_be_loaded
    assert not made.module_as("two", Talking).may_be_loaded
