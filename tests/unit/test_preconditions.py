# SPDX-License-Identifier: GPL-2.0-only
"""A guest is good for nothing that lacks what its suite needs, or has another processor."""

from __future__ import annotations

import struct
import subprocess
from functools import partial
from pathlib import Path
from typing import cast

import pytest

from harness.base.arch import X86_64
from harness.base.errors import CacheError, ClockError, ExitCode, MachineError, PreconditionError
from harness.base.spec import MachineSpec
from harness.base.suite import Preconditions
from harness.base.timeouts import GUEST
from harness.guest.connection import Guest
from harness.guest.preconditions import (
    build_id_of,
    check_build,
    check_clock,
    check_preconditions,
    check_processor,
)
from harness.kernel.build import KernelBuild

OWN = " ".join(X86_64.processor.flags)

LOG = """\
[    0.000000] Linux version 7.0.13
[    0.100000] own: Failed to find room, switched off
[    0.200000] other: broken beyond repair
"""


class FilesOfHost:
    """A guest whose files are the host's, and whose kernel log is *log*."""

    uptime = "17.43 30.10\n"

    def __init__(self, log: str = LOG, cpuinfo: str = "", notes: bytes = b"") -> None:
        self.log = log
        self.cpuinfo = cpuinfo
        self.notes = notes
        self.asked = 0

    def dmesg(self) -> str:
        self.asked += 1
        return self.log

    def release(self) -> str:
        return "7.0.13-p01"

    def read(self, path: str) -> str:
        return {
            "/proc/cpuinfo": self.cpuinfo,
            "/proc/uptime": self.uptime,
            "/sys/kernel/notes": self.notes.decode("latin-1"),
        }[path]

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


# -- the kernel that was built ---------------------------------------------------------------


def kernel_build(directory: Path) -> KernelBuild:
    return KernelBuild(
        directory=directory,
        key="b" * 32,
        arch="x86_64",
        profile="default",
        commit="c" * 40,
        tree="d" * 40,
        release="7.0.13-p01",
        warnings=(),
        seconds=0.0,
        cached=True,
    )


def note(name: bytes, kind: int, description: bytes) -> bytes:
    """Return an ELF note, padded."""
    padded = [part + bytes(-len(part) % 4) for part in (name, description)]
    return struct.pack("<III", len(name), len(description), kind) + b"".join(padded)


XEN = note(b"Xen\0", 3, b"\1\2\3")


@pytest.mark.parametrize(
    ("notes", "build_id"),
    [
        (note(b"GNU\0", 3, b"\xab\xcd"), "abcd"),
        (XEN + note(b"GNU\0", 1, b"\0" * 16) + note(b"GNU\0", 3, bytes(range(20))), "000102"),
        (XEN, ""),
        (b"", ""),
        (note(b"GNU\0", 3, b"\xab\xcd")[:11], ""),
    ],
)
def test_build_id_of_notes(notes: bytes, build_id: str) -> None:
    found = build_id_of(notes)
    assert found.startswith(build_id)
    assert bool(found) is bool(build_id)


def test_build_id_is_that_of_readelf(tmp_path: Path) -> None:
    (tmp_path / "a.c").write_text("int main(void) { return 0; }\n")
    run = partial(subprocess.run, cwd=tmp_path, check=True, capture_output=True, text=True)
    run(["gcc", "-Wl,--build-id=sha1", "-o", "a", "a.c"])
    run(["objcopy", "-O", "binary", "--only-section=.note.gnu.build-id", "a", "notes"])
    said = run(["readelf", "-n", "a"]).stdout
    assert f"Build ID: {build_id_of((tmp_path / 'notes').read_bytes())}\n" in said


def test_kernel_that_is_not_what_was_linked_is_refused(tmp_path: Path) -> None:
    build = kernel_build(tmp_path)
    build.notes.write_bytes(XEN + note(b"GNU\0", 3, b"\xab\xcd"))
    check_build(cast(Guest, FilesOfHost(notes=build.notes.read_bytes())), build, Path("c.log"))
    other = FilesOfHost(notes=note(b"GNU\0", 3, b"\xab\xce"))
    with pytest.raises(CacheError) as caught:
        check_build(cast(Guest, other), build, Path("c.log"))
    assert "build id abce, not abcd" in caught.value.message
    assert caught.value.exit_code is ExitCode.BAD_INPUT
    assert str(build.directory) in str(caught.value.hint)
