# SPDX-License-Identifier: GPL-2.0-only
"""A guest is good for nothing that lacks what its suite needs, or has another processor."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import cast

import pytest

from harness.base.arch import X86_64
from harness.base.errors import ClockError, ExitCode, MachineError, PreconditionError
from harness.base.spec import MachineSpec
from harness.base.suite import Preconditions
from harness.base.timeouts import GUEST
from harness.guest.connection import Guest
from harness.guest.preconditions import check_clock, check_preconditions, check_processor

OWN = " ".join(X86_64.processor.flags)

LOG = """\
[    0.000000] Linux version 7.0.13
[    0.100000] own: Failed to find room, switched off
[    0.200000] other: broken beyond repair
"""


class FilesOfHost:
    """A guest whose files are the host's, and whose kernel log is *log*."""

    uptime = "17.43 30.10\n"

    def __init__(self, log: str = LOG, cpuinfo: str = "") -> None:
        self.log = log
        self.cpuinfo = cpuinfo
        self.asked = 0

    def dmesg(self) -> str:
        self.asked += 1
        return self.log

    def read(self, path: str) -> str:
        return {"/proc/cpuinfo": self.cpuinfo, "/proc/uptime": self.uptime}[path]

    def check(self, words: str, *, timeout_s: float) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["sh", "-c", words], capture_output=True, text=True, check=True, timeout=timeout_s
        )


def held_to(wanted: Preconditions, guest: FilesOfHost | None = None) -> None:
    check_preconditions(
        cast(Guest, guest or FilesOfHost()), wanted, GUEST, "7.0.13-p01", Path("console.log")
    )


def refused(wanted: Preconditions) -> PreconditionError:
    with pytest.raises(PreconditionError) as caught:
        held_to(wanted)
    return caught.value


def test_suite_that_needs_nothing_asks_nothing() -> None:
    guest = FilesOfHost()
    held_to(Preconditions(reason="own"), guest)
    assert guest.asked == 0


def test_files_that_are_there_are_enough(tmp_path: Path) -> None:
    files = (tmp_path / "one", tmp_path / "a b")
    for file in files:
        file.touch()
    wanted = Preconditions(files=tuple(map(str, files)), reason="own: Failed")
    held_to(wanted)


def test_missing_file_is_told_with_what_the_kernel_says(tmp_path: Path) -> None:
    (tmp_path / "one").touch()
    wanted = Preconditions(
        files=(str(tmp_path / "one"), str(tmp_path / "two")),
        reason="own: .*([Ff]ail|off)",
        hint="it needs own=on",
    )
    error = refused(wanted)
    assert error.message == (
        f"7.0.13-p01 runs without {tmp_path / 'two'}: own: Failed to find room, switched off"
    )
    assert (error.hint, error.log) == ("it needs own=on", Path("console.log"))


@pytest.mark.parametrize("reason", ["", "nothing says this"])
def test_missing_file_of_which_the_kernel_says_nothing(tmp_path: Path, reason: str) -> None:
    wanted = Preconditions(files=(str(tmp_path / "two"),), reason=reason)
    error = refused(wanted)
    assert error.message.endswith("two: the kernel log does not say why")
    assert error.hint is None


def test_missing_file_goes_before_a_line_that_is_refused(tmp_path: Path) -> None:
    wanted = Preconditions(files=(str(tmp_path / "two"),), refused=("broken",))
    assert "runs without" in refused(wanted).message


def test_line_that_is_refused_is_quoted_without_its_time(tmp_path: Path) -> None:
    (tmp_path / "one").touch()
    wanted = Preconditions(
        files=(str(tmp_path / "one"),), refused=("absent", "^other: broken"), hint="mend it"
    )
    error = refused(wanted)
    assert error.message == "7.0.13-p01 says while it boots: other: broken beyond repair"
    assert error.hint == "mend it"


def test_log_without_a_refused_line_is_good() -> None:
    guest = FilesOfHost()
    held_to(Preconditions(refused=("absent", "never")), guest)
    assert guest.asked == 1


# -- the clock -------------------------------------------------------------------------------


def clocked(elapsed_s: float) -> None:
    check_clock(cast(Guest, FilesOfHost()), elapsed_s, "7.0.13-p11", Path("console.log"))


@pytest.mark.parametrize("elapsed_s", [17.5, 60.0])
def test_clock_that_says_no_more_than_there_was_is_accepted(elapsed_s: float) -> None:
    clocked(elapsed_s)


def test_clock_that_runs_fast_is_trouble_of_the_machine() -> None:
    with pytest.raises(ClockError, match=r"p11 runs fast: it says 17\.4 s, 6\.0 s after") as caught:
        clocked(6.0)
    assert caught.value.exit_code is ExitCode.INFRASTRUCTURE


# -- the processor ---------------------------------------------------------------------------


def ask(flags: str, accel: str = "tcg", cmdline: tuple[str, ...] = ()) -> None:
    """Hold a guest in whose kernel ``/proc/cpuinfo`` has *flags* to its machine."""
    spec = MachineSpec(
        arch="x86_64",
        qemu="qemu-system-x86_64",
        kernel=Path("kernel"),
        initrds=(),
        cmdline=cmdline,
        memory_mib=64,
        cpus=1,
        accel=accel,
        timeout_scale=1.0,
    )
    guest = FilesOfHost(cpuinfo=f"flags : {flags}\n")
    check_processor(cast(Guest, guest), spec, "7.0.13-p11", Path("console.log"))


def test_processor_that_was_asked_for_is_accepted() -> None:
    ask(f"{OWN} nopl")


def test_other_processor_is_trouble_of_the_machine() -> None:
    with pytest.raises(MachineError, match=r"has also sha_ni, as 7\.0\.13-p11 finds") as caught:
        ask(f"{OWN} sha_ni")
    assert caught.value.exit_code is ExitCode.INFRASTRUCTURE


def test_processor_that_the_parameters_change_is_accepted() -> None:
    ask(OWN.replace(" rdrand", ""), cmdline=("clearcpuid=rdrand",))


def test_processor_of_the_host_is_not_judged() -> None:
    ask("avx512f", accel="kvm")
