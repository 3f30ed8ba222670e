# SPDX-License-Identifier: GPL-2.0-only
"""Damaged data from the previous kernel: what is printed of it, and what stays usable.

Each half of this file damages one handover and looks at what came of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import handed_over
import pytest

from harness.liveupdate import LiveUpdate, Memfd
from harness.plugin import record_updates
from harness.vm import KernelModule, VirtualMachine

pytestmark = pytest.mark.catalogue

BEHIND = b"LEAKLEAK"
"""What stands behind the field that has lost its terminating NUL."""

UNTERMINATED = b"C" * handed_over.COMPATIBLE_BYTES
UNTERMINATED_NAME = b"N" * handed_over.NAME_BYTES
DEVICE = "/dev/liveupdate"
MANY = 40
"""More allocations than one open of a device makes."""


def the_line(vm: VirtualMachine, start: str) -> str:
    """Return the only line of the kernel log that has *start*."""
    found = [line for line in vm.guest.dmesg().splitlines() if start in line]
    assert len(found) == 1, found
    return found[0]


@pytest.fixture(scope="module")
def bad_compatible(
    request: pytest.FixtureRequest, boot_machine: Callable[..., VirtualMachine]
) -> Iterator[VirtualMachine]:
    """The first file of a session is the module's; the second has a damaged compatible string."""
    with boot_machine() as vm:
        vm.module.load()
        update = LiveUpdate(vm, session="damaged")
        vm.must("open", "foreign", "/dev/null")
        update.preserve("foreign")
        update.preserve_memfds(Memfd("data", size=4096))
        update.execute()
        vm.module.load()
        (session,) = handed_over.sessions(vm)
        assert session.name == b"damaged"
        handed_over.write(vm, session.files[1].at, UNTERMINATED + BEHIND * 2)
        answer = vm.agent("session", "retrieve", "damaged")
        assert answer["error"] == "EIO"
        yield vm
        record_updates(request, [update])


@pytest.mark.fails_before(1)
def test_unterminated_compatible_string_is_printed_up_to_its_end(
    bad_compatible: VirtualMachine,
) -> None:
    line = the_line(bad_compatible, "No registered handler for compatible")
    assert line.endswith(f"compatible '{UNTERMINATED.decode()}'")


def test_failed_deserialization_is_answered_alike_ever_after(
    bad_compatible: VirtualMachine,
) -> None:
    for _ in range(2):
        assert bad_compatible.agent("session", "create", "later")["error"] == "EIO"


@pytest.mark.fails_before(10)
def test_failed_deserialization_pins_no_module(bad_compatible: VirtualMachine) -> None:
    assert bad_compatible.module.refcount() == 0
    assert bad_compatible.module.unload() is None


def allocations_of_an_open(vm: VirtualMachine) -> int:
    """Return how many allocations opening the device makes when nothing is deserialized.

    The path has been looked up before, here and in the next kernel.
    """
    vm.check(["stat", DEVICE])
    for nth in range(1, MANY):
        answer = vm.agent("fail-nth", nth, "open", "session", "create", f"probe {nth}")
        if not answer["injected"]:
            return nth - 1
    raise AssertionError(f"an open makes more than {MANY} allocations")


@pytest.fixture(scope="module")
def failed_allocation(
    request: pytest.FixtureRequest, boot_machine: Callable[..., VirtualMachine]
) -> Iterator[VirtualMachine]:
    """No memory for the first session, whose name has lost its terminating NUL."""
    with boot_machine() as vm:
        opens = allocations_of_an_open(vm)
        vm.must("reset")
        update = LiveUpdate(vm, session="first")
        update.preserve_memfds(Memfd("data", size=4096))
        update.execute()
        (session,) = handed_over.sessions(vm)
        handed_over.write(vm, session.at, UNTERMINATED_NAME + BEHIND)
        vm.check(["stat", DEVICE])
        # The first allocation after those of the open itself is that of the session.
        answer = vm.agent("fail-nth", opens + 1, "open", "session", "retrieve", "first")
        assert (answer["injected"], answer["error"]) == (True, "EIO")
        yield vm
        record_updates(request, [update])


@pytest.mark.fails_before(1)
def test_unterminated_session_name_is_printed_up_to_its_end(
    failed_allocation: VirtualMachine,
) -> None:
    line = the_line(failed_allocation, "Failed to allocate session")
    assert f"session [{UNTERMINATED_NAME.decode()}] during" in line


@pytest.mark.fails_before(11)
def test_session_allocation_failure_is_remembered(failed_allocation: VirtualMachine) -> None:
    for _ in range(2):
        assert failed_allocation.agent("session", "create", "later")["error"] == "EIO"


@pytest.mark.fails_before(10)
def test_file_without_memory_pins_no_module(
    machine: VirtualMachine, module: KernelModule, live_update: Callable[..., LiveUpdate]
) -> None:
    module.load()
    opens = allocations_of_an_open(machine)
    machine.must("reset")
    update = live_update(machine)
    machine.must("open", "file", "/dev/null")
    update.preserve("file")
    update.execute()
    module.load()
    machine.check(["stat", DEVICE])
    # After those of the open come the session and then its file.
    session = update.default_session
    answer = machine.agent("fail-nth", opens + 2, "open", "session", "retrieve", session)
    assert (answer["injected"], answer["error"]) == (True, "EIO")
    assert "Failed to deserialize files" in machine.guest.dmesg()
    assert module.refcount() == 0
    assert module.unload() is None


def test_two_sessions_of_one_name_are_not_taken_over(
    machine: VirtualMachine, live_update: Callable[..., LiveUpdate]
) -> None:
    update = live_update(machine)
    update.preserve_memfds(Memfd("a", size=4096, session="one"), Memfd("b", session="two"))
    update.execute()
    first, second = handed_over.sessions(machine)
    assert (first.name, second.name) == (b"one", b"two")
    handed_over.write(machine, second.at, b"one\0")
    assert machine.agent("session", "retrieve", "one")["error"] == "EIO"
    assert "Failed to insert session [one]" in machine.guest.dmesg()
