# SPDX-License-Identifier: GPL-2.0-only
"""The kernel's own liveupdate selftests, built from the tree under test."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from harness.kernel_log import parse_ktap
from harness.liveupdate import LiveUpdate
from harness.vm import VirtualMachine

SELFTESTS = "/usr/lib/selftests"


@pytest.mark.fresh_machine
def test_selftest_liveupdate(machine: VirtualMachine, subtests: pytest.Subtests) -> None:
    result = machine.run([f"{SELFTESTS}/liveupdate"], timeout_s=60)
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
    machine.check([f"{SELFTESTS}/{program}", "--stage", "1"], timeout_s=30)
    update.execute()
    result = machine.run([f"{SELFTESTS}/{program}", "--stage", "2"], timeout_s=30)
    assert result.status == 0, result.stdout + result.stderr
