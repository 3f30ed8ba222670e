# SPDX-License-Identifier: GPL-2.0-only
"""Where the time of one boot and one kexec goes, stage by stage."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from rich.table import Table
from rich.text import Text

from harness.guest.kexec import STARTING, go, load_next
from harness.guest.machine import READY, Machine

_FIRST_LINE = "Linux version "
"""The first line that a kernel prints (``init/main.c``)."""

_INIT = "Run /init as init process"
"""What it prints before its first program (``init/main.c``)."""


@dataclass(frozen=True, slots=True)
class Stage:
    """A part of something that takes time.

    :param seconds: how long it took.
    """

    what: str
    name: str
    seconds: float


def boot_stages(machine: Machine) -> tuple[Stage, ...]:
    """Start *machine* by booting it, and return where the time went."""
    started = time.monotonic()
    machine.start()
    answered = time.monotonic()
    return _kernel_stages("boot", machine, 0, started, "QEMU and firmware, unpacking", answered)


def kexec_stages(machine: Machine) -> tuple[Stage, ...]:
    """Take a running machine to a kernel of the same build, and return where the time went."""
    build, began = machine.epoch.build, time.monotonic()
    load_next(machine, build)
    mark, started = machine.console.mark(), time.monotonic()
    go(machine, build)
    answered = time.monotonic()
    jumped = machine.console.when(STARTING, mark=mark) or started
    return (
        Stage("kexec", "loading the next kernel", started - began),
        Stage("kexec", "shutting the first kernel down", jumped - started),
        *_kernel_stages("kexec", machine, mark, jumped, "hashing and unpacking", answered),
    )


def _kernel_stages(
    what: str, machine: Machine, mark: int, since: float, before: str, until: float
) -> tuple[Stage, ...]:
    """Split what lies between *since* and *until* by what the kernel printed."""
    stages = []
    for text, name in (
        (_FIRST_LINE, before),
        (_INIT, "the kernel"),
        (READY, "init, until SSH listens"),
    ):
        at = machine.console.when(text, mark=mark)
        if at is not None:
            stages.append(Stage(what, name, at - since))
            since = at
    return (*stages, Stage(what, "SSH connection and first answer", until - since))


def stage_table(stages: Sequence[Stage]) -> Table:
    """Return the stages with their shares, and a sum for each of what was timed."""
    table = Table(box=None, pad_edge=False)
    table.add_column("stage")
    for name in ("seconds", "share"):
        table.add_column(name, justify="right")
    for what in dict.fromkeys(stage.what for stage in stages):
        own = [stage for stage in stages if stage.what == what]
        total = sum(stage.seconds for stage in own)
        table.add_row(Text(what, style="bold"), f"{total:.3f}", "")
        for stage in own:
            table.add_row(f"  {stage.name}", f"{stage.seconds:.3f}", f"{stage.seconds / total:.0%}")
    return table
