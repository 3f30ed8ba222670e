# SPDX-License-Identifier: GPL-2.0-only
"""From one kernel to the next in the same machine: hand it over, load it, go there."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass

from harness.base.errors import KernelCrash, KexecError, KexecRefused, MachineError
from harness.base.timeouts import GUEST
from harness.guest.archive import KERNEL_PATH, join_archives
from harness.guest.epoch import Epoch
from harness.guest.machine import READY, Machine
from harness.kernel.build import KernelBuild

STARTING = "kexec_core: Starting new kernel"
"""``kernel_kexec()`` says so after everything that can still fail (``kernel/kexec_core.c``)."""

_BANNER = re.compile(r"Linux version \d")
"""A kernel's first line.  A machine that is reset ends (``-no-reboot``), so it came by kexec."""

_RETAINED = "/sys/firmware/initrd"
"""The initrd that the kernel kept (``retain_initrd``, ``init/initramfs.c``, Linux 6.9)."""

_NEXT = "/run/next"
_REFUSED = "harness: kexec refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Jump:
    """What happened.

    :param mark: where on the console it began.
    :param blackout_s: seconds from the first kernel's last answer to the second one's first.
    """

    before: Epoch
    after: Epoch
    mark: int
    blackout_s: float


def load_next(machine: Machine, build: KernelBuild, *, without: tuple[str, ...] = ()) -> None:
    """Hand a kernel to the guest and load it with ``kexec_file_load(2)``.

    :param without: words of the running kernel's command line that it does not get.
    :raises KexecError: when the running kernel does not accept it.
    """
    kernel, initrd, length = _hand_over(machine, build)
    words = machine.guest.read("/proc/cmdline").split()
    cmdline = " ".join(word for word in words if word not in without)
    loaded = machine.agent(
        "kexec-load", kernel, initrd, length, cmdline, timeout_s=GUEST.hand_over_s
    )
    if _NEXT in kernel + initrd:
        machine.check(["rm", "-rf", _NEXT])
    if not loaded["ok"]:
        raise KexecError(
            f"kexec_file_load refused {build.release}: {loaded['error']}",
            hint="EADDRNOTAVAIL means that there is no room for it where it may be",
            log=machine.console.log_file,
        )


def _hand_over(machine: Machine, build: KernelBuild) -> tuple[str, str, int]:
    """Bring into the guest what it lacks of *build*.

    SSH is slow on an emulated CPU: what the guest has, of its own initrd, is not sent again.

    :returns: the kernel and an initrd in the guest, and how much of the initrd is to be used.
    """
    deadline = machine.timeouts.hand_over_s
    running = machine.epoch.build
    old, new = machine.initrd_of(running), machine.initrd_of(build)
    kernel, initrd, length = KERNEL_PATH, _RETAINED, new.next_bytes
    # Only the kernel that QEMU booted brought its image along.
    send_kernel = build.key != running.key or machine.epoch.number > 0
    send_initrd = (old.shared, old.own) != (new.shared, new.own)
    if send_kernel or send_initrd:
        machine.check(["mkdir", "-p", _NEXT])
    if send_kernel:
        kernel = f"{_NEXT}/kernel"
        machine.guest.put(build.image, kernel, timeout_s=deadline)
    if send_initrd:
        # Where a path comes twice in an initrd, the later one counts.
        parts, initrd = (*new.shared, new.own), f"{_NEXT}/initrd"
        if old.shared == new.shared:
            parts, kept = (new.own,), old.next_bytes
            machine.check(f"head -c {kept} {_RETAINED} >{initrd}", timeout_s=GUEST.hand_over_s)
            length = kept + parts[0].stat().st_size
        machine.guest.put(join_archives(parts), f"{_NEXT}/sent", timeout_s=deadline)
        machine.check(f"cat {_NEXT}/sent >>{initrd}", timeout_s=GUEST.hand_over_s)
    return kernel, initrd, length


def go(machine: Machine, build: KernelBuild) -> Jump:
    """Reboot into the loaded kernel, wait for it, and prove that it was a kexec.

    :param build: what was loaded.
    :raises KexecRefused: when the first kernel refuses, and runs on.
    :raises KernelCrash: when the first or the second kernel panics; the message says which.
    :raises KexecError: when something else happened.
    """
    machine.collect_counters(leaving=True)
    before, mark = machine.epoch, machine.console.mark()
    last_answer = time.monotonic()
    machine.guest.tell("kexec")
    _wait(machine, mark)
    after = machine.arrive(build, console_mark=mark)
    jump = Jump(before=before, after=after, mark=mark, blackout_s=time.monotonic() - last_answer)
    wrong = None
    if after.boot_id == before.boot_id:
        wrong = "the boot id did not change: the old kernel still runs"
    elif not jumped(machine, mark):
        wrong = "the machine was reset: there was no kexec"
    if wrong is not None:
        raise KexecError(wrong, log=machine.console.log_file)
    return jump


def _wait(machine: Machine, mark: int) -> None:
    try:
        seen = machine.console.expect(
            [re.escape(READY), re.escape(_REFUSED) + ": (.*)\n"],
            timeout_s=machine.timeouts.boot_s,
            mark=mark,
        )
    except KernelCrash as error:
        which = "second" if jumped(machine, mark) else "first"
        raise KernelCrash(
            f"the {which} kernel died in the kexec: {error.message}",
            splat=error.splat,
            log=error.log,
        ) from error
    except MachineError as error:
        where = "after" if jumped(machine, mark) else "before"
        raise KexecError(
            f"the machine ended {where} the jump to the next kernel: {error.message}",
            hint=error.hint,
            log=error.log,
        ) from error
    if seen.index == 1:
        raise KexecRefused(f"the kernel refused to reboot: {seen.groups[0].strip()}")


def jumped(machine: Machine, mark: int) -> bool:
    """Return whether there was a kexec; the first kernel's last line may never be printed."""
    text = machine.console.since(mark)
    return STARTING in text or _BANNER.search(text) is not None
