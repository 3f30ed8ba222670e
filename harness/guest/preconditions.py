# SPDX-License-Identifier: GPL-2.0-only
"""What a guest must be before a test in it says anything about the kernel."""

from __future__ import annotations

import re
import shlex
import struct
from pathlib import Path

from harness.base.arch import architecture
from harness.base.errors import CacheError, ClockError, KexecError, MachineError, PreconditionError
from harness.base.spec import MachineSpec
from harness.base.suite import Preconditions
from harness.base.timeouts import GuestTimeouts
from harness.guest.connection import Guest
from harness.kernel.build import KernelBuild
from harness.results.log_lines import strip_prefix

_NT_GNU_BUILD_ID = 3
"""The type of the note (``elf.h``)."""

_FAST = 1.1
"""What a guest's clock may be ahead of the host's, as a factor: firmware alone takes longer."""


def check_processor(guest: Guest, spec: MachineSpec, release: str, log_file: Path) -> None:
    """Refuse to test on an emulated processor that is not the one that was asked for.

    :param release: the kernel that runs in *guest*.
    :param log_file: the log of its console.
    :raises MachineError: when the kernel finds another one.
    """
    if spec.accel != "tcg":
        return
    why = architecture(spec.arch).why_other_processor(guest.read("/proc/cpuinfo"), spec.cmdline)
    if why is not None:
        raise MachineError(
            f"the guest's processor {why}, as {release} finds it",
            hint="harness/base/arch.py lists what it has, and what kernels add to that",
            log=log_file,
        )


def build_id_of(notes: bytes) -> str:
    """Return the build id among ELF notes (``elf(5)``), in hex; empty when there is none.

    Each note has the lengths of name and description, a type, and both padded to four bytes.
    """
    at = 0
    while at + 12 <= len(notes):
        name_bytes, bytes_, kind = struct.unpack_from("<III", notes, at)
        name, start = at + 12, at + 12 + (name_bytes + 3) // 4 * 4
        if kind == _NT_GNU_BUILD_ID and notes[name : name + name_bytes] == b"GNU\0":
            return notes[start : start + bytes_].hex()
        at = start + (bytes_ + 3) // 4 * 4
    return ""


def check_build(guest: Guest, build: KernelBuild, log_file: Path) -> None:
    """Refuse to test another kernel than *build*, or one that was not linked from its objects.

    A release tells positions apart, and not two changes at the same position: a compiler cache
    once answered with the compressed image of another one.

    :param log_file: the log of its console.
    :raises KexecError: when the kernel that runs says that it is another one.
    :raises CacheError: when it says nothing of the kind, and is.
    """
    if (release := guest.release()) != build.release:
        raise KexecError(f"the guest runs {release}, not {build.release}", log=log_file)
    runs = build_id_of(guest.read("/sys/kernel/notes").encode("latin-1"))
    built = build_id_of(build.notes.read_bytes())
    if runs != built:
        raise CacheError(
            f"{build.image} is another kernel than vmlinux beside it: build id {runs}, not {built}",
            hint=f"remove {build.directory}: it is built again",
            log=log_file,
        )


def check_clock(guest: Guest, elapsed_s: float, release: str, log_file: Path) -> None:
    """Refuse to test on a clock that runs fast: it has seen more time than there was.

    A kernel counts the cycles of its processor against another clock while it boots; on a host
    that is overloaded it was seen to find 438 MHz of 2593, and its clock then ran at six times the
    speed (``arch/x86/kernel/tsc.c``).

    :param elapsed_s: seconds since the machine was started.
    :param release: the kernel that runs in *guest*.
    :param log_file: the log of its console.
    :raises ClockError: when it does.
    """
    uptime_s = float(guest.read("/proc/uptime").split()[0])
    if uptime_s > _FAST * elapsed_s:
        raise ClockError(
            f"the clock of {release} runs fast: it says {uptime_s:.1f} s, {elapsed_s:.1f} s after "
            "the machine was started",
            hint="it took its measure on a host that is overloaded",
            log=log_file,
        )


def check_preconditions(
    guest: Guest, wanted: Preconditions, timeouts: GuestTimeouts, release: str, log_file: Path
) -> None:
    """Refuse to test in a guest that lacks what the suite needs.

    :param release: the kernel that runs in *guest*.
    :param log_file: the log of its console.
    :raises PreconditionError: naming what is missing, and what the kernel says of it.
    """
    look = "".join(f"[ -e {path} ] || echo {path};" for path in map(shlex.quote, wanted.files))
    missing: list[str] = []
    if look:
        missing = guest.check(look, timeout_s=timeouts.command_s).stdout.splitlines()
    if not missing and not wanted.refused:
        return
    lines = [strip_prefix(line.strip()) for line in guest.dmesg().splitlines()]
    if missing:
        reason = wanted.reason or "(?!)"
        said = next((line for line in lines if re.search(reason, line)), None)
        what = f"runs without {missing[0]}: {said or 'the kernel log does not say why'}"
    else:
        bad = [line for line in lines if any(re.search(p, line) for p in wanted.refused)]
        if not bad:
            return
        what = f"says while it boots: {bad[0]}"
    raise PreconditionError(f"{release} {what}", hint=wanted.hint or None, log=log_file)
