# SPDX-License-Identifier: GPL-2.0-only
"""The kernel under test boots, is the one that was built, and offers live updates."""

from __future__ import annotations

from harness.guest.machine import Machine
from harness.kernel.build import KernelBuild


def test_boot_reaches_ssh_with_the_kernel_that_was_built(
    machine: Machine, kernel: KernelBuild
) -> None:
    assert machine.check(["uname", "-r"]).strip() == kernel.release


def test_boot_configuration_is_the_one_that_was_proven(
    machine: Machine, kernel: KernelBuild
) -> None:
    running = machine.check(["zcat", "/proc/config.gz"])
    assert running == kernel.config.read_text()


def test_boot_finds_every_processor(machine: Machine) -> None:
    """Without ACPI, it is the MP table that lists them."""
    assert int(machine.check(["nproc"])) == machine.spec.cpus


def test_boot_offers_the_live_update_device(machine: Machine) -> None:
    assert machine.run(["test", "-c", "/dev/liveupdate"]).status == 0


def test_boot_reserved_memory_for_the_handover(machine: Machine) -> None:
    assert machine.run(["test", "-d", "/sys/kernel/debug/kho/out"]).status == 0


def test_boot_leaves_the_kernel_untainted(machine: Machine) -> None:
    assert machine.guest.taint() & ~(1 << 12) == 0


def test_agent_answers(machine: Machine) -> None:
    assert machine.must("ping")["ok"]


def test_command_output_is_free_of_kernel_messages(machine: Machine) -> None:
    result = machine.run(
        ["sh", "-c", "echo '<3>harness: noise' >/dev/kmsg; echo out; echo err >&2"]
    )
    assert (result.stdout, result.stderr, result.status) == ("out\n", "err\n", 0)
