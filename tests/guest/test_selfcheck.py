# SPDX-License-Identifier: GPL-2.0-only
"""The orchestrator's own test, built in: it boots, follows a live update, and finds no fault.

``lib/tests/liveupdate.c`` registers three FLBs with every file handler and tells the kernel log
what becomes of them.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from harness.guest.machine import Machine
from harness.kernel.build import KernelBuild
from harness.liveupdate.module import TestModule
from harness.liveupdate.update import LiveUpdate, Memfd

pytestmark = pytest.mark.profiles("selfcheck")

FLBS = 3
SAYS = "liveupdate test: "


def said(machine: Machine) -> list[str]:
    """Return what the test in the kernel has said; nothing of it may be an error."""
    lines = [line.partition(SAYS)[2] for line in machine.guest.dmesg().splitlines() if SAYS in line]
    assert not [line for line in lines if "ERROR" in line or "ailed" in line], lines
    return lines


def test_selfcheck_registers_with_the_memfd_handler(machine: Machine) -> None:
    assert f"Registered {FLBS} FLBs with file handler: [memfd-v1]" in said(machine)


@pytest.mark.fails_before(10)
def test_selfcheck_leaves_a_module_of_its_own_alone(machine: Machine, module: TestModule) -> None:
    module.load(flbs=1)
    assert f"Registered {FLBS} FLBs with file handler: [luo-test-file-v1]" in said(machine)
    machine.must("session", "create", "s")
    machine.must("open", "file", "/dev/null")
    machine.must("preserve", "s", 1, "file")
    machine.must("session", "close", "s")
    assert module.refcount() == 0
    assert module.unload() is None
    said(machine)


def test_selfcheck_follows_a_live_update(
    machine: Machine, live_update: Callable[..., LiveUpdate]
) -> None:
    update = live_update(machine)
    update.preserve_memfds(Memfd("data", size=4096))
    assert sum("preserve was triggered" in line for line in said(machine)) >= FLBS
    update.execute()
    assert sum("found flb data from the previous boot" in line for line in said(machine)) == FLBS
    update.retrieve()
    update.verify()
    update.finish()
    assert sum("finish was triggered" in line for line in said(machine)) == FLBS


@pytest.mark.fails_before(8)
def test_selfcheck_is_not_asked_to_unregister(kernel: KernelBuild) -> None:
    symbols = kernel.system_map.read_text()
    assert " liveupdate_test_register\n" in symbols
    assert " liveupdate_test_unregister\n" not in symbols
