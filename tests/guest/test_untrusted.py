# SPDX-License-Identifier: GPL-2.0-only
"""Damaged data from the previous kernel: what is printed of it, and what stays usable.

Each half of this file damages one handover and looks at what came of it.
"""

from __future__ import annotations

import contextlib
import errno
import re
from collections.abc import Callable, Iterator

import handed_over
import pytest
from prepared import module_and_memfd

from harness.base.errors import KernelCrash
from harness.guest.kexec import go, load_next
from harness.guest.machine import Machine
from harness.kernel.build import KernelBuild
from harness.liveupdate.fixtures import UpdatedMachine
from harness.liveupdate.module import luo_test

pytestmark = pytest.mark.catalogue

FOUND = pytest.mark.without_feature("handover-in-blocks")
"""Where there are blocks, user space cannot find them: the file of debugfs that begins them shows
memory that the kernel has freed by then."""

BEHIND = b"LEAKLEAK"
"""What stands behind the field that has lost its terminating NUL."""

UNTERMINATED = b"C" * handed_over.COMPATIBLE_BYTES
UNTERMINATED_NAME = b"N" * handed_over.NAME_BYTES
MANY = 12
"""More allocations than an open of the device and its first session make."""

ROUNDS = 3


def the_line(machine: Machine, start: str) -> str:
    """Return the only line of the kernel log that has *start*."""
    found = [line for line in machine.guest.dmesg().splitlines() if start in line]
    assert len(found) == 1, found
    return found[0]


@contextlib.contextmanager
def broken_compatible(updated_machine: UpdatedMachine) -> Iterator[Machine]:
    """The first file of a session is the module's; the second has a damaged compatible string."""
    with updated_machine(module_and_memfd) as update:
        machine = update.machine
        luo_test(machine).load()
        session, _ = handed_over.sessions(machine)
        assert session.name == b"first"
        handed_over.write(machine, session.files[1].at, UNTERMINATED + BEHIND * 2)
        assert machine.agent("session", "retrieve", "first")["error"] == "EIO"
        yield machine


@pytest.fixture(scope="module")
def bad_compatible(updated_machine: UpdatedMachine) -> Iterator[Machine]:
    """Such a machine, for tests that only look."""
    with broken_compatible(updated_machine) as machine:
        yield machine


@FOUND
@pytest.mark.fails_before(1)
def test_unterminated_compatible_string_is_printed_up_to_its_end(
    bad_compatible: Machine,
) -> None:
    line = the_line(bad_compatible, "No registered handler for compatible")
    assert line.endswith(f"compatible '{UNTERMINATED.decode()}'")


@FOUND
@pytest.mark.both_ends
@pytest.mark.fails_without("deserialize-tells-errors", "as if all its files had come")
def test_error_of_deserialization_is_told(updated_machine: UpdatedMachine) -> None:
    with updated_machine(module_and_memfd) as update:
        machine = update.machine
        luo_test(machine).load()
        session, _ = handed_over.sessions(machine)
        handed_over.write(machine, session.files[1].at, UNTERMINATED)
        answer = machine.agent("session", "retrieve", "first")
        assert not answer["ok"], "the session is there, as if all its files had come"


@FOUND
def test_failed_deserialization_is_answered_alike_ever_after(
    bad_compatible: Machine,
) -> None:
    for _ in range(2):
        assert bad_compatible.agent("session", "create", "later")["error"] == "EIO"


NOTHING_KEPT = pytest.mark.beyond(
    reason="the cover letter takes references for deserialization, and does not say that one which "
    "failed gives them back",
    weight="low",
)


@NOTHING_KEPT
@FOUND
@pytest.mark.fails_before(10)
def test_failed_deserialization_pins_no_module(updated_machine: UpdatedMachine) -> None:
    with broken_compatible(updated_machine) as machine:
        count = luo_test(machine).refcount()
        assert count == 0, f"{count} references after a failed deserialization, not 0"
        error = luo_test(machine).unload()
        assert error is None, f"the module cannot be unloaded: {error}"


TREE = {
    b"luo-v1": errno.EINVAL,
    b"liveupdate-number": errno.EINVAL,
    b"luo-session\0": errno.EINVAL,
    b"luo-session-v2": errno.EINVAL,
    b"luo-session-header": errno.EINVAL,
    b"luo-flb\0": errno.ENOENT,
    b"luo-flb-v1": errno.EINVAL,
    b"luo-flb-header": errno.EINVAL,
}
"""What the next kernel looks for in the live update tree, and what it is without it."""


@FOUND
@pytest.mark.both_ends
@pytest.mark.splat("The incoming tree failed to initialize")
def test_next_kernel_does_without_no_part_of_the_tree(
    boot_machine: Callable[..., Machine], kernel: KernelBuild
) -> None:
    said = {}
    for word in TREE:
        with boot_machine() as machine:
            handed_over.damage_outgoing(machine, word)
            load_next(machine, kernel)
            with pytest.raises(KernelCrash, match="the second kernel died") as died:
                go(machine, kernel)
            (text,) = re.findall(r"failed to initialize properly \[-(\w+)\]", str(died.value))
            # A name, or the number where the kernel has no names (CONFIG_SYMBOLIC_ERRNAME).
            said[word] = getattr(errno, text) if text.isalpha() else int(text)
    assert said == TREE


def without_memory(
    updated_machine: UpdatedMachine, prepare: Callable[[Machine], None], said: str
) -> Iterator[Machine]:
    """Yield a machine that lacked memory during deserialization, and has *said* so.

    Which allocation of the open that is depends on the slabs, which differ from clone to clone: one
    that is full asks for a page, and takes a smaller one when that fails.  So the first fails, then
    the second, and so on, and then the first again.  An open that came as far as the sessions has
    used them up, and the next try has a machine of its own.
    """
    for _ in range(ROUNDS):
        nth = 0
        while nth < MANY:
            with updated_machine(module_and_memfd) as update:
                machine = update.machine
                prepare(machine)
                error = "ENOMEM"
                while error == "ENOMEM" and nth < MANY:
                    nth += 1
                    answer = machine.agent("fail-nth", nth, "open", "session", "retrieve", "first")
                    error = answer.get("error")
                if said in machine.guest.dmesg():
                    assert (answer["injected"], error) == (True, "EIO")
                    yield machine
                    return
    raise AssertionError(f"no failing allocation made the kernel say {said!r}")


@pytest.fixture(scope="module")
def failed_allocation(updated_machine: UpdatedMachine) -> Iterator[Machine]:
    """No memory for the first session, whose name has lost its terminating NUL."""

    def damage(machine: Machine) -> None:
        session, _ = handed_over.sessions(machine)
        # What is behind the name says where the files are; so that nobody looks, there are none.
        handed_over.write(machine, session.at, UNTERMINATED_NAME + BEHIND + bytes(8))

    yield from without_memory(
        updated_machine, damage, f"Failed to allocate session [{UNTERMINATED_NAME[:8].decode()}"
    )


@FOUND
@pytest.mark.fails_before(1)
def test_unterminated_session_name_is_printed_up_to_its_end(
    failed_allocation: Machine,
) -> None:
    line = the_line(failed_allocation, "Failed to allocate session")
    assert f"session [{UNTERMINATED_NAME.decode()}] during" in line


@FOUND
@pytest.mark.fails_before(11)
def test_session_allocation_failure_is_remembered(failed_allocation: Machine) -> None:
    for _ in range(2):
        assert failed_allocation.agent("session", "create", "later")["error"] == "EIO"


@NOTHING_KEPT
@pytest.mark.fails_before(10)
def test_file_without_memory_pins_no_module(updated_machine: UpdatedMachine) -> None:
    for machine in without_memory(
        updated_machine,
        lambda machine: luo_test(machine).load(),
        "Failed to deserialize files for session [first]",
    ):
        assert re.search(r"session \[first\] (-ENOMEM|-12)\b", machine.guest.dmesg())
        assert luo_test(machine).refcount() == 0
        assert luo_test(machine).unload() is None


@FOUND
def test_two_sessions_of_one_name_are_not_taken_over(updated_machine: UpdatedMachine) -> None:
    with updated_machine(module_and_memfd) as update:
        machine = update.machine
        luo_test(machine).load()
        first, second = handed_over.sessions(machine)
        assert (first.name, second.name) == (b"first", b"second")
        handed_over.write(machine, second.at, b"first\0")
        allocated = "awk '/func:luo_session_alloc/ {n += $2} END {print n + 0}' /proc/allocinfo"
        before = int(machine.check(allocated))
        assert machine.agent("session", "retrieve", "first")["error"] == "EIO"
        # The first stays, as everything that was restored by then; the second is freed.
        assert int(machine.check(allocated)) == before + 1
        assert "Failed to insert session [first]" in machine.guest.dmesg()
