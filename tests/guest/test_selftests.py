# SPDX-License-Identifier: GPL-2.0-only
"""The kernel's own liveupdate selftests, built from the tree under test."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from harness.guest.machine import Machine
from harness.guest.ssh import CommandResult
from harness.liveupdate.update import LiveUpdate

STRESS = pytest.mark.feature("selftest-stress")


@pytest.mark.fresh_machine
def test_selftest_liveupdate(kselftest: Callable[..., CommandResult]) -> None:
    kselftest("liveupdate")


@pytest.mark.fresh_machine
@pytest.mark.parametrize(
    "program",
    [
        "luo_kexec_simple",
        "luo_multi_session",
        pytest.param("luo_stress_files", marks=STRESS),
        pytest.param("luo_stress_sessions", marks=STRESS),
    ],
)
def test_selftest_across_kexec(
    machine: Machine,
    live_update: Callable[..., LiveUpdate],
    kselftest: Callable[..., CommandResult],
    program: str,
) -> None:
    update = live_update(machine)
    # The first stage leaves a daemon that holds the sessions until the kexec.
    kselftest(program, "-s", "1", ktap=False)
    update.execute()
    kselftest(program, "-s", "2", ktap=False)
