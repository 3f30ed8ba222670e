# SPDX-License-Identifier: GPL-2.0-only
"""What first kernels preserve for tests that begin in the second one.

Each of these is gone through once for a kernel; every test that names it (``updated_machine``)
has a clone of the second kernel in which nothing has been retrieved yet.
"""

from __future__ import annotations

import struct

from harness.guest.machine import Machine
from harness.liveupdate.module import luo_test
from harness.liveupdate.update import LiveUpdate, Memfd

KIB, MIB = 1 << 10, 1 << 20

MEMFDS = {
    memfd.name: memfd
    for memfd in (
        Memfd("empty"),
        Memfd("one-byte", size=1),
        Memfd("4-KiB", size=4 * KIB),
        Memfd("a-page-and-a-byte", size=4 * KIB + 1),
        Memfd("16-MiB", size=16 * MIB),
        Memfd("sparse", size=8 * MIB, pattern="sparse"),
        Memfd("all-holes", size=4 * MIB, pattern="zero"),
        Memfd("at-an-offset", size=8 * KIB, offset=1234),
    )
}

MANY = [Memfd(f"many-{n}", size=4 * KIB, seed=100 + n, session="many") for n in range(100)]
"""Files in one session; LUO has room for more than this (``kernel/liveupdate/luo_file.c``)."""

NAME_BYTES = 64
"""``LIVEUPDATE_SESSION_NAME_LENGTH``, with the terminating NUL."""

NAMES = {
    "longest": "n" * (NAME_BYTES - 1),
    "one-letter": "x",
    "empty": "",
    "not-ascii": "sitzung-\u00e4\u20ac",
    "blanks-and-quotes": " a 'b' \"c\" %s ",
}

MOST_FILES = 128
"""What fits with pages of 4 KiB; with larger ones there is room for more, see below."""

_AT_PAGESZ = 6
"""``include/uapi/linux/auxvec.h``."""

MOST_FAILURES = 60
"""More allocations than any call makes."""

FLBS = 2
CONTENT = "what the module remembers"


MOVED = Memfd("moved", size=8 * KIB, offset=100)
MOVED_TO = 4321
"""Where its offset is when the kernel goes; it was preserved at another."""

SEALED = Memfd("sealed", size=8 * KIB, seed=5, seals=("seal", "shrink", "grow", "write"))


LATE = Memfd("late", size=8 * KIB, pattern="zero")
WRITTEN = "written after it was preserved"


def most_files(machine: Machine) -> int:
    """Return how many files fit into a session.

    Two pages of 64 bytes a file (``kernel/liveupdate/luo_file.c``).
    """
    return 2 * page_bytes(machine) // 64


def most_sessions(machine: Machine) -> int:
    """Return how many sessions fit.

    16 pages, less a header, of 80 bytes a session (``include/linux/kho/abi/luo.h``).
    """
    return (16 * page_bytes(machine) - 8) // 80


def page_bytes(machine: Machine) -> int:
    """Return the size of a page in the kernel that runs (``getauxval(3)``)."""
    vector = machine.guest.read("/proc/self/auxv").encode("latin-1")
    return int(dict(struct.iter_unpack("<QQ", vector))[_AT_PAGESZ])


def managed_kib(machine: Machine) -> int:
    """Return how much memory the kernel that runs manages, in KiB."""
    return int(machine.check("awk '/^MemTotal/ {print $2}' /proc/meminfo"))


def memfds(update: LiveUpdate) -> None:
    """Memfds of every kind, and a hundred in one session."""
    update.preserve_memfds(*MEMFDS.values(), *MANY, MOVED, SEALED, LATE)
    update.machine.must("seek", MOVED.name, MOVED_TO)
    update.machine.must("write", LATE.name, WRITTEN)


def sessions(update: LiveUpdate) -> None:
    """A session of each name with a memfd in it, one full of files, one empty."""
    nameless = "name-not-empty" not in update.machine.epoch.build.features
    update.preserve_memfds(
        *(
            Memfd(key, size=4096, seed=seed, session=name)
            for seed, (key, name) in enumerate(NAMES.items(), 1)
            if name or nameless
        ),
        *(
            Memfd(f"full-{n}", size=4096, seed=1000 + n, session="full", token=2**64 - 1 - n)
            for n in range(MOST_FILES)
        ),
        Memfd("again", size=4096, seed=7, session="twice", token=0),
    )
    update.create_session("nothing in it")
    update.create_session("unanswered")


def module_and_memfd(update: LiveUpdate) -> None:
    """Session ``first`` with a file of the module and a memfd, and ``second`` with a memfd.

    The module's files are devices, which do not pin it themselves.
    """
    luo_test(update.machine).load()
    _first_and_second(update, Memfd("other", session="second"))


def module_memfd_and_flb(update: LiveUpdate) -> None:
    """As :func:`module_and_memfd`, and the module has an FLB, and no memfd is empty."""
    luo_test(update.machine).load(flbs=1)
    _first_and_second(update, Memfd("other", size=4096, session="second"))


def _first_and_second(update: LiveUpdate, other: Memfd) -> None:
    update.machine.must("open", "foreign", "/dev/null")
    update.preserve("foreign", session="first")
    update.preserve_memfds(Memfd("data", size=4096, session="first"), other)


def device_file(update: LiveUpdate) -> None:
    """A file of the module's own device, which pins the module, and its FLBs."""
    machine = update.machine
    luo_test(machine).load(flbs=FLBS)
    machine.must("open", "file", "/dev/luo_test", "--flags", "rdwr")
    machine.must("write", "file", CONTENT)
    update.preserve("file")


def module_files_and_memfds(update: LiveUpdate) -> None:
    """Three files of the module's own device and two memfds, in session ``all``."""
    machine = update.machine
    luo_test(machine).load()
    update.create_session("all")
    for token in (1, 2, 3):
        machine.must("open", f"file{token}", "/dev/luo_test", "--flags", "rdwr")
        machine.must("write", f"file{token}", CONTENT)
        machine.must("preserve", "all", token, f"file{token}")
    update.preserve_memfds(
        *(Memfd(f"memfd{token}", size=64 * KIB, session="all", token=token) for token in (4, 5))
    )


def handlers(update: LiveUpdate) -> None:
    """Two files in session ``one`` of the first handler, one each in ``two`` and ``three``."""
    machine = update.machine
    luo_test(machine).load(handlers=2)
    for session, token, path in (
        ("one", 1, "/dev/null"),
        ("one", 2, "/dev/null"),
        ("two", 1, "/dev/zero"),
        ("three", 1, "/dev/zero"),
    ):
        if token == 1:
            machine.must("session", "create", session)
        machine.must("open", f"{session}{token}", path)
        machine.must("preserve", session, token, f"{session}{token}")


def flbs(update: LiveUpdate) -> None:
    """Two files whose handler has FLBs."""
    machine = update.machine
    luo_test(machine).load(flbs=FLBS)
    for number in (1, 2):
        machine.must("open", f"file{number}", "/dev/null")
        update.preserve(f"file{number}")


def one_for_each_failure(update: LiveUpdate) -> None:
    """A memfd and a file of the module for each failure to come.

    Each has a file of its own: kernels may refuse to preserve one open file twice.
    """
    machine = update.machine
    luo_test(machine).load(flbs=1)
    update.preserve_memfds(
        *(
            Memfd(f"m{n}", size=1 << 16, seed=n, session="memfds", token=n)
            for n in range(1, MOST_FAILURES + 1)
        )
    )
    machine.must("session", "create", "module")
    machine.must_all(
        [
            command
            for n in range(1, MOST_FAILURES + 1)
            for command in (
                ("open", f"null{n}", "/dev/null"),
                ("preserve", "module", n, f"null{n}"),
            )
        ],
        timeout_s=30,
    )


def flbs_unless_counted(machine: Machine) -> int:
    """Return how many FLBs a test has that looks none up.

    None where their references are counted: one that nobody looked up is put all the same when it
    is finished, and warns (see ``test_flb.py``).
    """
    return 0 if "flb-get-takes-reference" in machine.epoch.build.features else 1
