# SPDX-License-Identifier: GPL-2.0-only
"""What a machine that has booted is held to."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from harness.base.arch import X86_64
from harness.base.errors import ExitCode, MachineError
from harness.base.spec import MachineSpec
from harness.base.suite import Preconditions
from harness.guest.connection import Guest
from harness.guest.keys import GuestKeys
from harness.guest.machine import Machine
from harness.guest.qemu import Qemu
from harness.kernel.build import KernelBuild

OWN = " ".join(X86_64.processor.flags)


def machine(flags: str, accel: str = "tcg", cmdline: tuple[str, ...] = ()) -> Machine:
    """Return a machine in whose kernel ``/proc/cpuinfo`` has *flags*."""
    spec = MachineSpec(
        arch="x86_64",
        qemu="qemu-system-x86_64",
        kernel=Path("kernel"),
        initrds=(),
        cmdline=cmdline,
        memory_mib=64,
        cpus=1,
        accel=accel,
        timeout_scale=1.0,
    )
    vm = Machine(
        spec=spec,
        build=cast(KernelBuild, SimpleNamespace(release="7.0.13-p11")),
        keys=cast(GuestKeys, None),
        initrds=cast(Any, None),
        preconditions=Preconditions(),
        log_dir=Path("logs"),
    )
    files = {"/proc/cpuinfo": f"flags : {flags}\n"}
    vm._guest = cast(Guest, SimpleNamespace(read=files.__getitem__))
    console = SimpleNamespace(log_file=Path("console.log"))
    vm._qemu = cast(Qemu, SimpleNamespace(console=console))
    return vm


def test_processor_that_was_asked_for_is_accepted() -> None:
    machine(f"{OWN} nopl")._check_processor()


def test_other_processor_is_trouble_of_the_machine() -> None:
    with pytest.raises(MachineError, match=r"has also sha_ni, as 7\.0\.13-p11 finds") as caught:
        machine(f"{OWN} sha_ni")._check_processor()
    assert caught.value.exit_code is ExitCode.INFRASTRUCTURE


def test_processor_that_the_parameters_change_is_accepted() -> None:
    machine(OWN.replace(" rdrand", ""), cmdline=("clearcpuid=rdrand",))._check_processor()


def test_processor_of_the_host_is_not_judged() -> None:
    machine("avx512f", accel="kvm")._check_processor()
