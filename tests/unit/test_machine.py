# SPDX-License-Identifier: GPL-2.0-only
"""A machine's modules are found by name, and stay what they were made."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from harness.base.spec import MachineSpec
from harness.base.suite import Preconditions
from harness.base.timeouts import GUEST
from harness.guest.machine import GuestSetup, Machine
from harness.guest.module import KernelModule


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A machine that was not started."""
    spec = MachineSpec(
        arch="x86_64",
        qemu="qemu-system-x86_64",
        kernel=Path("kernel"),
        initrds=(),
        cmdline=(),
        memory_mib=64,
        cpus=1,
        accel="tcg",
        timeout_scale=2.0,
    )
    nothing = cast(Any, None)
    setup = GuestSetup(keys=nothing, initrd_of=nothing, preconditions=Preconditions())
    return Machine(spec=spec, build=nothing, setup=setup, log_dir=tmp_path)


def test_machine_has_the_timeouts_of_its_accelerator_and_profile(machine: Machine) -> None:
    assert machine.timeouts == GUEST.scaled(2.0)


class Talking(KernelModule):
    """A module that can be told something."""


def test_module_is_the_same_object_each_time(machine: Machine) -> None:
    one = machine.module("one")
    assert (one.name, one.path) == ("one", "/lib/harness/one.ko")
    assert machine.module("one") is one
    assert machine.module("two") is not one


def test_module_of_a_class_of_its_own_stays_one(machine: Machine) -> None:
    talking = machine.module_as("one", Talking)
    assert isinstance(talking, Talking)
    assert machine.module("one") is talking
    assert machine.module_as("one", Talking) is talking


def test_module_keeps_that_it_may_be_loaded_when_it_gets_a_class(machine: Machine) -> None:
    machine.module("one").may_be_loaded = True
    assert machine.module_as("one", Talking).may_be_loaded
    assert not machine.module_as("two", Talking).may_be_loaded
