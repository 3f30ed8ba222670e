# SPDX-License-Identifier: GPL-2.0-only
"""Live updates: sessions, the module's own files and FLBs, several in a row, between positions."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from prepared import FLBS, device_file

from harness.base.errors import KexecRefused
from harness.guest.machine import Machine
from harness.kernel.build import KernelBuild
from harness.liveupdate.fixtures import UpdatedMachine
from harness.liveupdate.module import TestModule, luo_test
from harness.liveupdate.update import LiveUpdate, Memfd
from harness.run.pipeline import Pipeline

DEVICE = "/dev/luo_test"
BUSY = "EAGAIN"
"""``delete_module(2)`` of a module in use; EWOULDBLOCK is the same number."""

SESSIONS = 64
QUICK = ("default", "coverage", "selfcheck")
"""Profiles in which a live update takes seconds; others make do with fewer of them."""


def preserve_module_file(update: LiveUpdate, name: str, content: str) -> None:
    update.machine.must("open", name, DEVICE, "--flags", "rdwr")
    update.machine.must("write", name, content)
    update.preserve(name)


@pytest.mark.profiles(*QUICK)
def test_many_sessions_survive(machine: Machine, live_update: Callable[..., LiveUpdate]) -> None:
    update = live_update(machine)
    update.preserve_memfds(
        *(Memfd(f"m{n}", size=4096, seed=n + 1, session=f"session {n}") for n in range(SESSIONS))
    )
    update.execute()
    update.retrieve()
    update.verify()
    update.finish()


@pytest.mark.fails_before(10)
def test_module_file_and_flbs_survive(updated_machine: UpdatedMachine) -> None:
    with updated_machine(device_file) as update:
        machine, module = update.machine, luo_test(update.machine)
        # The first open of /dev/liveupdate deserializes: the handler must be there before.
        module.load(flbs=FLBS)
        assert module.refcount() == 0
        update.retrieve()
        update.verify()
        # A handler looks its FLBs up when it needs them; 7.0 finishes only those that were.
        for number in range(FLBS):
            assert module.control(f"flb incoming {number}").error is None
        update.finish()
        counters = module.counters()
        assert counters["handler0.retrieve"] == counters["handler0.finish"] == 1
        for number in range(FLBS):
            assert counters[f"flb{number}.retrieve"] == counters[f"flb{number}.finish"] == 1
        assert counters["mismatch.file"] == counters["mismatch.flb"] == counters["violation"] == 0
        assert module.refcount() == 1, "the retrieved file is still open"
        machine.must("close", "file")
        assert module.unload() is None


@pytest.mark.fails_before(10)
def test_module_is_pinned_from_deserialization_to_finish(updated_machine: UpdatedMachine) -> None:
    with updated_machine(device_file) as update:
        machine, module, session = update.machine, luo_test(update.machine), update.default_session
        module.load(flbs=FLBS)
        assert module.refcount() == 0
        machine.must("session", "retrieve", session)
        assert module.refcount() == 1
        assert module.unload() == BUSY
        for number in range(FLBS):
            assert module.control(f"flb incoming {number}").error is None
        machine.must("session", "finish", session)
        machine.must("session", "close", session)
        assert module.refcount() == 0
        assert module.unload() is None


@pytest.mark.profiles(*QUICK)
@pytest.mark.fresh_machine
def test_two_live_updates_in_a_row(
    machine: Machine, live_update: Callable[..., LiveUpdate]
) -> None:
    numbers = []
    for turn in range(2):
        update = live_update(machine)
        update.preserve_memfds(Memfd(f"turn{turn}", size=1 << 20, seed=turn + 1))
        update.execute()
        update.retrieve()
        update.verify()
        update.finish()
        numbers.append(update.number)
    assert numbers == [1, 2]
    assert [epoch.number for epoch in machine.epochs] == [0, 1, 2]


@pytest.mark.fresh_machine
def test_live_update_is_refused_when_a_file_cannot_freeze(
    machine: Machine, module: TestModule, live_update: Callable[..., LiveUpdate]
) -> None:
    module.load()
    update = live_update(machine)
    preserve_module_file(update, "file", "state")
    module.fail("handler0.freeze", "EBUSY")
    update.load()
    with pytest.raises(KexecRefused):
        update.go()
    assert len(machine.epochs) == 1
    machine.must("seek", "file", 0)
    assert bytes.fromhex(machine.must("read", "file", "--length", 5)["hex"]) == b"state"


@pytest.mark.profiles(*QUICK)
@pytest.mark.parametrize("direction", ["up", "down"])
def test_live_update_between_the_first_and_the_last_position(
    pipeline: Pipeline,
    kernel_at: Callable[[int], KernelBuild],
    boot_machine: Callable[..., Machine],
    live_update: Callable[..., LiveUpdate],
    direction: str,
) -> None:
    ends = (0, pipeline.applied.positions[-1].number)
    first, second = ends if direction == "up" else ends[::-1]
    with boot_machine(position=first) as machine:
        update = live_update(machine)
        update.preserve_memfds(Memfd("data", size=1 << 20))
        update.execute(kernel_at(second))
        assert machine.epoch.release == kernel_at(second).release
        # A tree without patches has one position only.
        assert first == second or machine.epoch.release != kernel_at(first).release
        update.retrieve()
        update.verify()
        update.finish()
