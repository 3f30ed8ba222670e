# SPDX-License-Identifier: GPL-2.0-only
"""The kernel's own tests, run in a guest: selftests of its tree, and KUnit suites in it."""

from __future__ import annotations

import shlex

from harness.base.timeouts import GUEST
from harness.guest.archive import SELFTESTS_PATH
from harness.guest.machine import Machine
from harness.guest.ssh import CommandResult
from harness.results.ktap import KtapResult, parse_ktap

_KUNIT = "/sys/kernel/debug/kunit"


def run_selftest(
    machine: Machine, program: str, *words: str, timeout_s: float = GUEST.selftest_s
) -> CommandResult:
    """Run a selftest that the suite names, in whatever kernel the machine runs.

    :param words: its arguments.
    :param timeout_s: scaled.
    """
    path = f"{SELFTESTS_PATH}/{program}"
    if machine.epoch.number > 0:
        # Only the kernel that QEMU booted brought them along.
        machine.check(["mkdir", "-p", SELFTESTS_PATH])
        deadline = machine.timeouts.command_s
        machine.guest.put(machine.epoch.build.userspace / program, path, timeout_s=deadline)
    return machine.run(f"chmod 755 {path} && {shlex.join([path, *words])}", timeout_s=timeout_s)


def run_kunit(machine: Machine, suite: str) -> tuple[KtapResult, ...]:
    """Run a KUnit suite that is built in or loaded (``CONFIG_KUNIT_DEBUGFS``, Linux 6.8).

    :raises AssertionError: when the kernel has no such suite.
    """
    directory = f"{_KUNIT}/{suite}"
    if machine.run(["test", "-e", f"{directory}/run"]).status != 0:
        known = machine.run(["ls", _KUNIT]).stdout.split()
        raise AssertionError(
            f"the kernel has no KUnit suite {suite!r}; it has: {', '.join(known) or 'none'}"
        )
    machine.check(f"echo 1 >{shlex.quote(directory)}/run", timeout_s=GUEST.kunit_s)
    return parse_ktap(machine.check(["cat", f"{directory}/results"]))
