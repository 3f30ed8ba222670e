# SPDX-License-Identifier: GPL-2.0-only
"""Live updates from the kernel under test to another one (``harness compat``, ``--to``).

Kernels promise each other nothing: the next one may refuse what it is handed, and has to say so.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from prepared import CONTENT, FLBS, KIB, MEMFDS, device_file

from harness.guest.machine import Machine
from harness.kernel.build import KernelBuild
from harness.liveupdate.handover import hand_over
from harness.liveupdate.module import luo_test
from harness.liveupdate.update import LiveUpdate, Memfd

pytestmark = pytest.mark.two_kernels

SESSIONS = 64
SEALED = Memfd("sealed", size=8 * KIB, seed=5, seals=("seal", "shrink", "grow", "write"))


def test_memfds_are_handed_over(
    machine: Machine, live_update: Callable[..., LiveUpdate], next_kernel: KernelBuild
) -> None:
    update = live_update(machine)
    update.preserve_memfds(*MEMFDS.values())
    if "memfd-seals" in machine.epoch.build.features & next_kernel.features:
        update.preserve_memfds(SEALED)
    hand_over(update, next_kernel)
    update.verify()
    for name, memfd in MEMFDS.items():
        machine.must("check", name, *memfd.shape)
    update.finish()


def test_many_sessions_are_handed_over(
    machine: Machine, live_update: Callable[..., LiveUpdate], next_kernel: KernelBuild
) -> None:
    update = live_update(machine)
    update.preserve_memfds(
        *(Memfd(f"m{n}", size=4 * KIB, seed=n + 1, session=f"s {n}") for n in range(SESSIONS))
    )
    hand_over(update, next_kernel)
    update.verify()
    update.finish()


def test_file_of_a_module_and_its_flbs_are_handed_over(
    machine: Machine, live_update: Callable[..., LiveUpdate], next_kernel: KernelBuild
) -> None:
    update, module = live_update(machine), luo_test(machine)
    device_file(update)
    hand_over(update, next_kernel, prepare=lambda: module.load(flbs=FLBS))
    update.verify()
    machine.must("seek", "file", 0)
    answer = machine.must("read", "file", "--length", len(CONTENT))
    assert bytes.fromhex(answer["hex"]) == CONTENT.encode()
    for number in range(FLBS):
        looked_up = module.control(f"flb incoming {number}").error
        assert looked_up is None, f"FLB {number}: {looked_up}"
    update.finish()
    counters = module.counters()
    wrong = {name: counters[name] for name in ("mismatch.file", "mismatch.flb", "violation")}
    assert wrong == dict.fromkeys(wrong, 0)
