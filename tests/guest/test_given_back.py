# SPDX-License-Identifier: GPL-2.0-only
"""What is over is given back: files and memory; and nothing is taken where updates are off.

The shared machine is asked for what is left after every test; here it is the second kernel.
"""

from __future__ import annotations

import errno
import re
import struct

import pytest
from handed_over import OUTGOING
from ioctls import RETRIEVE_FD
from prepared import KIB, MOST_FAILURES, managed_kib, module_and_memfd, module_files_and_memfds

from harness.guest.idle import read_idle, what_is_left
from harness.guest.kexec import go, load_next
from harness.guest.machine import Machine
from harness.kernel.build import KernelBuild
from harness.liveupdate.fixtures import UpdatedMachine
from harness.liveupdate.module import TestModule, luo_test
from harness.liveupdate.update import LiveUpdate, Memfd
from harness.run.pipeline import Pipeline

pytestmark = [pytest.mark.catalogue, pytest.mark.both_ends]

TOKENS = (1, 2, 3, 4, 5)
OFF = errno.errorcode[errno.EOPNOTSUPP]
"""Which has two names."""


def test_retrieved_files_are_given_back(
    updated_machine: UpdatedMachine, pipeline: Pipeline
) -> None:
    with updated_machine(module_files_and_memfds) as update:
        machine, counts = update.machine, pipeline.suite.idle
        luo_test(machine).load()
        machine.must("reset")
        before = read_idle(machine, counts)
        machine.must("session", "retrieve", "all")
        for token in TOKENS:
            # Nobody can be told of it, and nobody has it.
            argument = struct.pack("<IiQ", 16, 0, token).hex()
            answer = machine.agent("raw", "all", hex(RETRIEVE_FD), argument, "read-only")
            assert answer["error"] == "EFAULT"
            # The second time it is there already.
            for name in (f"file{token}", f"again{token}"):
                machine.must("retrieve", "all", token, name)
                machine.must("close", name)
        machine.must("session", "finish", "all")
        machine.must("session", "close", "all")
        assert what_is_left(machine, counts, before) is None


SESSIONS = 40
SLACK_KIB = 16
"""What one boot of a kernel takes more than another; forty sessions take 160 KiB and more."""


def many_memfds(update: LiveUpdate) -> None:
    """Sessions with a memfd each."""
    update.preserve_memfds(
        *(Memfd(f"m{n}", size=4096, session=f"s-{n}", token=1) for n in range(SESSIONS))
    )


def finish(update: LiveUpdate, session: str) -> None:
    """Finish a session that came, of which nobody has wanted a file."""
    update.machine.must("session", "retrieve", session)
    update.machine.must("session", "finish", session)


def managed_after(update: LiveUpdate, *sessions: str) -> int:
    """Finish all that came, and return how much memory the kernel then manages.

    What was handed over is not among it until it is restored (``kho_restore_page()``).
    """
    machine = update.machine
    luo_test(machine).load()
    for session in sessions:
        finish(update, session)
        machine.must("session", "close", session)
    return managed_kib(machine)


@pytest.fixture(scope="module")
def few_kib(updated_machine: UpdatedMachine) -> int:
    """What is managed after two sessions with three small files."""
    with updated_machine(module_and_memfd) as update:
        return managed_after(update, "first", "second")


def test_memory_of_what_was_handed_over_comes_back(
    updated_machine: UpdatedMachine, few_kib: int
) -> None:
    with updated_machine(many_memfds) as update:
        many = managed_after(update, *(f"s-{n}" for n in range(SESSIONS)))
    lost = few_kib - many
    assert lost < SLACK_KIB, f"{lost} KiB of {SESSIONS} sessions did not come back"


UNTAKEN = 20
LARGE_KIB = 4096


def empty_memfds(update: LiveUpdate) -> None:
    """Sessions with an empty memfd each, and one with a large one."""
    update.preserve_memfds(*(Memfd(f"m{n}", session=f"s-{n}", token=1) for n in range(UNTAKEN)))
    update.preserve_memfds(Memfd("large", size=LARGE_KIB * KIB, session="large", token=1))


def promise(machine: Machine, kib: int) -> None:
    """Have the kernel promise only so much more memory to whoever asks it for some.

    ``Documentation/mm/overcommit-accounting.rst``
    """
    machine.check(
        f"""
        awk '/^Committed_AS/ {{print $2 + {kib}}}' /proc/meminfo >/proc/sys/vm/overcommit_kbytes
        echo 2 >/proc/sys/vm/overcommit_memory
        """
    )


LRU, MMAP, ANON, SWAPBACKED = 1 << 5, 1 << 11, 1 << 12, 1 << 14
"""``include/uapi/linux/kernel-page-flags.h``"""


def pages_of_no_file(machine: Machine) -> int:
    """Return how many pages are like those of a memfd, and on no list of such pages.

    So are those that were restored for a file, are in none, and have never been freed.
    """
    machine.check("echo 1 >/proc/sys/vm/drop_caches")  # what waits to be put on a list is put there
    pages = machine.guest.get("/proc/kpageflags", timeout_s=machine.timeouts.command_s)
    return sum(
        flags & (LRU | MMAP | ANON | SWAPBACKED) == SWAPBACKED
        for (flags,) in struct.iter_unpack("<Q", pages)
    )


def test_memory_of_what_could_not_be_retrieved_comes_back(
    updated_machine: UpdatedMachine, few_kib: int
) -> None:
    with updated_machine(empty_memfds) as update:
        for n in range(UNTAKEN):
            update.machine.must("session", "retrieve", f"s-{n}")
            # There is no memory for the file that it is to become.
            answer = update.machine.agent("fail-nth", 1, "ioctl", "retrieve", f"s-{n}", 1, "file")
            assert answer["error"] in {"ENOMEM", "ENOSPC"}
            update.machine.must("session", "finish", f"s-{n}")
            update.machine.must("session", "close", f"s-{n}")
        # The file is there, and some of its pages are in it; the rest is too much.
        update.machine.must("session", "retrieve", "large")
        before = pages_of_no_file(update.machine)
        promise(update.machine, LARGE_KIB // 2)
        assert update.machine.agent("retrieve", "large", 1, "file")["error"] == "ENOSPC"
        update.machine.check("echo 0 >/proc/sys/vm/overcommit_memory")
        update.machine.must("session", "finish", "large")
        update.machine.must("session", "close", "large")
        assert pages_of_no_file(update.machine) == before
        lost = few_kib - managed_after(update)
    assert lost < SLACK_KIB, f"{lost} KiB of {UNTAKEN} sessions did not come back"


def taken_back(update: LiveUpdate) -> None:
    """A memfd; others were preserved as well or could not be, and are not any more."""
    machine = update.machine
    machine.must("session", "create", "gone")
    for token in range(4):
        machine.must("memfd", "create", f"gone{token}", "--size", 256 * KIB)
        machine.must("preserve", "gone", token, f"gone{token}")
    # Each has pages of its own: what is left of one that was refused is nobody else's.
    for nth in range(1, MOST_FAILURES + 1):
        machine.must("memfd", "create", f"refused{nth}", "--size", 256 * KIB)
        answer = machine.agent("fail-nth", nth, "ioctl", "preserve", "gone", 9, f"refused{nth}")
        if answer["ok"]:
            break
    assert answer["ok"]
    machine.must("session", "close", "gone")
    for number in range(1, nth + 1):
        machine.must("close", f"refused{number}")
    for token in range(4):
        machine.must("close", f"gone{token}")
    update.preserve_memfds(Memfd("kept", size=4096, session="kept"))


def test_memory_that_was_taken_back_is_not_handed_over(
    updated_machine: UpdatedMachine, few_kib: int
) -> None:
    with updated_machine(taken_back) as update:
        kept = managed_after(update, "kept")
    lost = few_kib - kept
    assert lost < SLACK_KIB, f"{lost} KiB are kept for nobody"


def test_files_that_nobody_wants_are_let_go_last_first(updated_machine: UpdatedMachine) -> None:
    with updated_machine(module_files_and_memfds) as update:
        luo_test(update.machine).load()
        finish(update, "all")
        order = re.findall(r"file(\d+) is not wanted", update.machine.guest.dmesg())
        assert order == ["3", "2", "1"]


def test_finished_session_keeps_nothing_of_what_came(updated_machine: UpdatedMachine) -> None:
    with updated_machine(module_files_and_memfds) as update:
        machine = update.machine
        luo_test(machine).load()
        finish(update, "all")
        # Room for the files of a session goes with the last one, also where none was taken.
        machine.must("open", "nobody's", "/dev/zero")
        assert not machine.agent("preserve", "all", 9, "nobody's")["ok"]
        machine.must("session", "close", "all")


@pytest.mark.parametrize("word", ["liveupdate=on", "kho=on"])
def test_nothing_is_registered_where_live_updates_are_off(
    machine: Machine, module: TestModule, kernel: KernelBuild, word: str
) -> None:
    assert machine.run(["test", "-e", OUTGOING]).status == 0
    load_next(machine, kernel, without=(word,))
    go(machine, kernel)
    for path in ("/dev/liveupdate", OUTGOING):
        assert machine.run(["test", "-e", path]).status == 1, path
    module.load(flbs=1, register=0)
    for command in ("register handler 0", "force flb 0", "flb incoming 0", "flb outgoing 0"):
        assert module.control(command).error == OFF, command
    module.control("unregister all")
    assert module.refcount() == 0
    assert module.unload() is None
