# SPDX-License-Identifier: GPL-2.0-only
"""Loading, unloading and registering: who pins the module, and when it may go.

The series' point: registration alone must not pin a module, preserved files must.
"""

from __future__ import annotations

import errno
import re

import pytest
from prepared import flbs

from harness.guest.machine import Machine
from harness.kernel.build import KernelBuild
from harness.liveupdate.fixtures import UpdatedMachine
from harness.liveupdate.module import TestModule, luo_test

DEVICE = "/dev/luo_test"
BUSY = "EAGAIN"
"""``delete_module(2)`` of a module in use; EWOULDBLOCK is the same number."""


def open_file(machine: Machine, name: str, content: str) -> None:
    machine.must("open", name, DEVICE, "--flags", "rdwr")
    machine.must("write", name, content)


@pytest.mark.fails_before(10)
@pytest.mark.parametrize("flbs", [0, 1, 3])
def test_registered_module_is_not_pinned(module: TestModule, flbs: int) -> None:
    module.load(flbs=flbs)
    assert module.refcount() == 0


@pytest.mark.fails_before(10, bug="module-unload")
@pytest.mark.parametrize("flbs", [0, 3])
def test_idle_module_can_be_unloaded(module: TestModule, flbs: int) -> None:
    module.load(flbs=flbs)
    assert module.unload() is None
    assert not module.loaded


@pytest.mark.fails_before(10)
def test_module_can_be_loaded_and_unloaded_again_and_again(module: TestModule) -> None:
    for _ in range(5):
        module.load(flbs=2)
        assert module.unload() is None


@pytest.mark.fails_before(10)
def test_unrelated_session_does_not_pin_the_module(machine: Machine, module: TestModule) -> None:
    module.load(flbs=1)
    machine.must("session", "create", "unrelated")
    machine.must("memfd", "create", "data", "--size", 4096)
    machine.must("preserve", "unrelated", 1, "data")
    assert module.refcount() == 0


@pytest.mark.fails_before(10)
@pytest.mark.parametrize("flbs", [0, 2])
def test_preserved_file_pins_the_module(machine: Machine, module: TestModule, flbs: int) -> None:
    module.load(flbs=flbs)
    open_file(machine, "file", "state")
    machine.must("session", "create", "holder")
    idle = module.refcount()
    assert idle is not None
    machine.must("preserve", "holder", 1, "file")
    # One reference for the file's handler, and one for each FLB that came into use.
    assert module.refcount() == idle + 1 + flbs


@pytest.mark.fails_before(10)
def test_second_preserved_file_takes_no_second_flb_reference(
    machine: Machine, module: TestModule
) -> None:
    module.load(flbs=2)
    machine.must("session", "create", "holder")
    for number in (1, 2):
        open_file(machine, f"file{number}", "state")
    idle = module.refcount()
    assert idle is not None
    machine.must("preserve", "holder", 1, "file1")
    machine.must("preserve", "holder", 2, "file2")
    assert module.refcount() == idle + 2 + 2


def test_closing_the_session_gives_every_reference_back(
    machine: Machine, module: TestModule
) -> None:
    module.load(flbs=2)
    open_file(machine, "file", "state")
    idle = module.refcount()
    machine.must("session", "create", "holder")
    machine.must("preserve", "holder", 1, "file")
    machine.must("session", "close", "holder")
    assert module.refcount() == idle


@pytest.mark.fails_before(10)
def test_unload_is_refused_while_a_file_is_preserved_and_works_after(
    machine: Machine, module: TestModule
) -> None:
    module.load(flbs=1)
    open_file(machine, "file", "state")
    machine.must("session", "create", "holder")
    machine.must("preserve", "holder", 1, "file")
    machine.must("close", "file")
    assert module.unload() == BUSY
    machine.must("session", "close", "holder")
    assert module.unload() is None


def test_preserve_that_fails_leaks_no_reference(machine: Machine, module: TestModule) -> None:
    module.load(flbs=2)
    open_file(machine, "file", "state")
    idle = module.refcount()
    machine.must("session", "create", "holder")
    module.fail("handler0.preserve", "ENOMEM")
    answer = machine.agent("preserve", "holder", 1, "file")
    assert answer["error"] == "ENOMEM"
    assert module.refcount() == idle


def test_flb_preserve_that_fails_leaks_no_reference(machine: Machine, module: TestModule) -> None:
    module.load(flbs=3)
    open_file(machine, "file", "state")
    idle = module.refcount()
    machine.must("session", "create", "holder")
    module.fail("flb2.preserve", "EIO")
    answer = machine.agent("preserve", "holder", 1, "file")
    assert answer["error"] == "EIO"
    assert module.refcount() == idle
    counters = module.counters()
    assert counters["flb0.unpreserve"] == counters["flb0.preserve"] == 1


@pytest.mark.fails_before(6)
def test_registering_works_while_an_unrelated_session_exists(
    machine: Machine, module: TestModule
) -> None:
    module.load(flbs=1, register=0)
    machine.must("session", "create", "unrelated")
    assert module.control("register handler 0").error is None
    assert module.control("register flb 0").error is None


@pytest.mark.fails_before(6)
def test_unregistering_works_while_an_unrelated_session_exists(
    machine: Machine, module: TestModule
) -> None:
    module.load(flbs=1)
    machine.must("session", "create", "unrelated")
    assert module.control("unregister flb 0").error is None
    assert module.control("unregister handler 0").error is None
    assert module.control("register handler 0").error is None


@pytest.mark.fails_before(7)
def test_unregistering_a_handler_unregisters_its_flbs(module: TestModule) -> None:
    module.load(flbs=2)
    assert module.control("unregister handler 0").error is None
    assert module.control("register handler 0").error is None
    assert module.control("register flb 0").error is None
    assert module.control("register flb 1").error is None


@pytest.mark.fails_before(9)
def test_unregister_functions_return_nothing(module: TestModule) -> None:
    module.load(flbs=1)
    assert module.control("unregister flb 0").returned == "void"
    assert module.control("unregister handler 0").returned == "void"


@pytest.mark.fails_before(10)
def test_unloaded_handler_is_no_longer_asked(machine: Machine, module: TestModule) -> None:
    module.load(flbs=1)
    assert module.unload() is None
    machine.must("session", "create", "after")
    machine.must("memfd", "create", "data", "--size", 4096)
    machine.must("preserve", "after", 1, "data")


def test_duplicate_handler_is_refused(module: TestModule) -> None:
    module.load(handlers=1)
    assert module.control("register handler 0").error == "EEXIST"


@pytest.mark.fails_before(6)
def test_quiesce_is_gone(kernel: KernelBuild) -> None:
    symbols = kernel.system_map.read_text()
    assert " luo_session_deserialize\n" in symbols
    assert " luo_session_quiesce\n" not in symbols


GOING_S = 0.4


@pytest.mark.catalogue
@pytest.mark.fails_before(5)
def test_flb_of_a_module_that_goes_takes_no_files(machine: Machine, module: TestModule) -> None:
    # The handler passes for a built-in one, so only the FLB's module is about to go.
    module.load(flbs=1, owner=0, exit_ms=int(1000 * GOING_S * machine.timeouts.scale))
    machine.must("open", "null", "/dev/null")
    machine.must("session", "create", "s")
    machine.check("harness-agent rmmod luo_test >/run/rmmod &")
    state = "/sys/module/luo_test/initstate"
    machine.check(f"until grep -q going {state}; do [ ! -s /run/rmmod ] || break; done")
    assert machine.agent("preserve", "s", 1, "null").get("error") == "ENODEV"
    # Before patch 6 nothing can be unregistered while there is a session.
    machine.must("session", "close", "s")
    machine.check("until [ -s /run/rmmod ]; do sleep 0.1; done")
    assert machine.guest.read("/run/rmmod").startswith('{"ok":true')


@pytest.mark.catalogue
@pytest.mark.both_ends
@pytest.mark.fails_before(5)
def test_flb_of_a_module_that_goes_is_not_retrieved(updated_machine: UpdatedMachine) -> None:
    with updated_machine(flbs) as update:
        module = luo_test(update.machine)
        module.load(flbs=1, owner=0, exit_ms=1)
        assert module.unload() is None
        (said,) = re.findall(r"flb0 incoming at exit: (-?\d+)", update.machine.guest.dmesg())
        assert int(said) == -errno.ENODEV
        module.load(flbs=1)
        assert module.control("flb incoming 0").error is None
