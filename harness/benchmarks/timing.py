# SPDX-License-Identifier: GPL-2.0-only
"""Where the time of one boot and one live update goes, stage by stage."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from rich.table import Table
from rich.text import Text

from harness.guest.machine import READY, VirtualMachine
from harness.liveupdate.update import STARTING, LiveUpdate, Memfd

_FIRST_LINE = "Linux version "
"""The first line that a kernel prints (``init/main.c``)."""

_INIT = "Run /init as init process"
"""What it prints before its first program (``init/main.c``)."""

_MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Stage:
    """A part of something that takes time.

    :param seconds: how long it took.
    """

    what: str
    name: str
    seconds: float


def boot_stages(machine: VirtualMachine) -> tuple[Stage, ...]:
    """Start *machine* by booting it, and return where the time went."""
    started = time.monotonic()
    machine.start()
    answered = time.monotonic()
    return _kernel_stages("boot", machine, 0, started, "QEMU and firmware, unpacking", answered)


def update_stages(machine: VirtualMachine) -> tuple[Stage, ...]:
    """Live-update a running machine with one memfd, and return where the time went."""
    update = LiveUpdate(machine)
    update.preserve_memfds(Memfd("timed", size=_MIB))
    update.load()
    mark, started = machine.console.mark(), time.monotonic()
    update.go()
    answered = time.monotonic()
    jumped = machine.console.when(STARTING, mark=mark) or started
    update.retrieve()
    update.verify()
    update.finish()
    taken = update.stages
    return (
        *(Stage("live update", name, taken[name]) for name in ("preserve", "load")),
        Stage("live update", "shutting the first kernel down", jumped - started),
        *_kernel_stages("live update", machine, mark, jumped, "hashing and unpacking", answered),
        *(Stage("live update", name, taken[name]) for name in ("retrieve", "verify", "finish")),
    )


def _kernel_stages(
    what: str, machine: VirtualMachine, mark: int, since: float, before: str, until: float
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
