# SPDX-License-Identifier: GPL-2.0-only
"""File handlers: the references that each of their files holds, and unloading at any moment.

As in ``test_flb.py`` the files are devices that do not pin the module themselves.
"""

from __future__ import annotations

import handed_over
import pytest
from prepared import handlers, module_and_memfd

from harness.guest.machine import Machine
from harness.liveupdate.fixtures import UpdatedMachine
from harness.liveupdate.module import TestModule, luo_test

pytestmark = pytest.mark.catalogue

BUSY = "EAGAIN"
DANGLING = r"page fault|KASAN|general protection|list_add corruption|Oops"
"""What shows that the kernel used a handler whose module has gone."""


@pytest.mark.fails_before(10)
def test_each_preserved_file_pins_the_module_once(machine: Machine, module: TestModule) -> None:
    module.load()
    machine.must("session", "create", "holder")
    counts = [module.refcount()]
    for token in (1, 2, 3):
        machine.must("open", f"file{token}", "/dev/null")
        machine.must("preserve", "holder", token, f"file{token}")
        counts.append(module.refcount())
    machine.must("session", "close", "holder")
    counts.append(module.refcount())
    assert counts == [0, 1, 2, 3, 0]


@pytest.mark.fails_before(10)
def test_module_in_use_stays_and_goes_after(machine: Machine, module: TestModule) -> None:
    module.load()
    machine.must("open", "file", "/dev/null")
    machine.must("session", "create", "holder")
    machine.must("preserve", "holder", 1, "file")
    machine.must("close", "file")
    assert module.unload() == BUSY
    machine.must("session", "close", "holder")
    assert module.unload() is None


@pytest.mark.fails_before(10)
@pytest.mark.parametrize("error", ["EIO", "ENOMEM"])
def test_refused_preserve_pins_nothing(machine: Machine, module: TestModule, error: str) -> None:
    module.load()
    machine.must("open", "file", "/dev/null")
    machine.must("session", "create", "holder")
    module.fail("handler0.preserve", error)
    assert machine.agent("preserve", "holder", 1, "file")["error"] == error
    assert module.refcount() == 0
    assert module.unload() is None


@pytest.mark.fails_before(10)
def test_file_nobody_wants_pins_nothing(machine: Machine, module: TestModule) -> None:
    module.load()
    machine.must("open", "file", "/dev/full")
    machine.must("session", "create", "holder")
    assert machine.agent("preserve", "holder", 1, "file")["error"] == "ENOENT"
    assert module.refcount() == 0


@pytest.mark.fails_before(6)
def test_handler_unregistered_while_in_use_still_gets_its_file_back(
    machine: Machine, module: TestModule
) -> None:
    module.load()
    machine.must("open", "file", "/dev/null")
    machine.must("session", "create", "holder")
    machine.must("preserve", "holder", 1, "file")
    assert module.control("unregister handler 0").error is None
    machine.must("open", "other", "/dev/null")
    assert machine.agent("preserve", "holder", 2, "other")["error"] == "ENOENT"
    machine.must("session", "close", "holder")
    counters = module.counters()
    assert counters["handler0.unpreserve"] == 1
    assert counters["violation"] == 0


@pytest.mark.fails_before(10)
def test_references_across_a_live_update(updated_machine: UpdatedMachine) -> None:
    with updated_machine(handlers) as update:
        references_in_the_second_kernel(update.machine, luo_test(update.machine))


def references_in_the_second_kernel(machine: Machine, module: TestModule) -> None:
    module.load(handlers=2)
    assert module.refcount() == 0
    machine.must("session", "retrieve", "one")
    # All sessions are deserialized at once, whichever is asked for.
    assert module.refcount() == 4
    assert module.unload() == BUSY
    machine.must("retrieve", "one", 1, "good")
    module.fail("handler0.retrieve", "EIO")
    assert machine.agent("retrieve", "one", 2, "refused")["error"] == "EIO"
    assert machine.agent("retrieve", "one", 2, "refused")["error"] == "EIO"
    assert module.counters()["handler0.retrieve"] == 2
    assert module.refcount() == 4
    module.fail("handler0.can_finish", "refuse")
    assert machine.agent("session", "finish", "one")["error"] == "EBUSY"
    assert module.refcount() == 4
    machine.must("session", "finish", "one")
    assert module.refcount() == 2
    machine.must("session", "retrieve", "two")
    # Closing a session that was never finished finishes it.
    machine.must("session", "close", "two")
    assert module.refcount() == 1
    counters = module.counters()
    assert counters["handler0.finish"] == 2
    assert counters["handler1.finish"] == 1
    assert counters["violation"] == counters["mismatch.file"] == 0
    machine.must("session", "close", "one")
    # One that cannot be finished when it is closed stays with the kernel, and so does its module.
    machine.must("session", "retrieve", "three")
    module.fail("handler1.can_finish", "refuse")
    machine.agent("session", "close", "three")
    assert "Unable to finish session [three] on release" in machine.guest.dmesg()
    assert module.refcount() == 1
    assert module.unload() == BUSY


@pytest.mark.without_feature("handover-in-blocks")
def test_module_that_is_missing_after_the_update_is_named(
    updated_machine: UpdatedMachine,
) -> None:
    with updated_machine(module_and_memfd) as update:
        machine = update.machine
        session, _ = handed_over.sessions(machine)
        field = handed_over.read(machine, session.files[0].at, handed_over.COMPATIBLE_BYTES)
        compatible = field.partition(b"\0")[0].decode()
        assert machine.agent("session", "retrieve", "first")["error"] == "EIO"
        assert f"No registered handler for compatible '{compatible}'" in machine.guest.dmesg()


@pytest.mark.parametrize(
    "unregister",
    [
        pytest.param("all", marks=pytest.mark.fails_before(6, splat=DANGLING)),
        pytest.param("handler", marks=pytest.mark.fails_before(7, splat=DANGLING)),
    ],
)
@pytest.mark.fresh_machine
def test_forced_unload_leaves_no_dangling_handler(
    machine: Machine, module: TestModule, unregister: str
) -> None:
    module.load(flbs=1, unregister=unregister)
    machine.must("session", "create", "unrelated")
    assert module.unload(force=True) is None
    # Registering compares with every handler on the list, preserving asks each of them.
    module.load(flbs=1)
    machine.must("memfd", "create", "data", "--size", 4096)
    machine.must("preserve", "unrelated", 1, "data")
