# SPDX-License-Identifier: GPL-2.0-only
"""The kernel's own liveupdate selftests, built from the tree under test."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from harness.guest.machine import COMMAND_S, SELFTESTS_PATH, VirtualMachine
from harness.guest.ssh import CommandResult
from harness.liveupdate.update import LiveUpdate
from harness.results.kernel_log import parse_ktap


def run(machine: VirtualMachine, program: str, *words: str) -> CommandResult:
    """Run a selftest; a kernel that came by a live update is given the program."""
    path = f"{SELFTESTS_PATH}/{program}"
    if machine.epoch.number > 0:
        machine.check(["mkdir", "-p", SELFTESTS_PATH])
        deadline = COMMAND_S * machine.timeout_scale
        machine.guest.put(machine.epoch.build.userspace / program, path, timeout_s=deadline)
    return machine.run(f"chmod 755 {path} && {path} {' '.join(words)}", timeout_s=60)


@pytest.mark.fresh_machine
def test_selftest_liveupdate(machine: VirtualMachine, subtests: pytest.Subtests) -> None:
    result = run(machine, "liveupdate")
    found = parse_ktap(result.stdout)
    assert found, result.stdout + result.stderr
    for case in found:
        with subtests.test(case.name):
            assert case.ok, case.detail
    assert result.status == 0


@pytest.mark.fresh_machine
@pytest.mark.parametrize("program", ["luo_kexec_simple", "luo_multi_session"])
def test_selftest_across_kexec(
    machine: VirtualMachine, live_update: Callable[..., LiveUpdate], program: str
) -> None:
    update = live_update(machine)
    # The first stage leaves a daemon that holds the sessions until the kexec.
    started = run(machine, program, "--stage", "1")
    assert started.status == 0, started.stdout + started.stderr
    update.execute()
    result = run(machine, program, "--stage", "2")
    assert result.status == 0, result.stdout + result.stderr
