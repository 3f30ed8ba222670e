# SPDX-License-Identifier: GPL-2.0-only
"""What things cost: the stages of a boot and a live update, and figures over many runs.

Every figure is wall clock time on the host, or memory; a figure is only worth something beside
others of the same run, since hosts are noisy.
"""

from __future__ import annotations

import contextlib
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from harness.liveupdate import STARTING, LiveUpdate, Memfd
from harness.pipeline import Pipeline
from harness.template import Templates
from harness.vm import READY, VirtualMachine

_FIRST_LINE = "Linux version "
"""The first line that a kernel prints (``init/main.c``)."""

_INIT = "Run /init as init process"
"""What it prints before its first program (``init/main.c``)."""

MIB = 1 << 20


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
    update.preserve_memfds(Memfd("timed", size=MIB))
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


# -- figures over many runs ------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Figure:
    """What was measured, over its runs.

    :param unit: ``s`` or ``MiB``.
    """

    name: str
    unit: str
    values: tuple[float, ...]

    @property
    def median(self) -> float:
        """The median of the runs."""
        return statistics.median(self.values)

    def as_json(self) -> dict[str, Any]:
        """Return the documented form (``docs/performance.md``)."""
        return {
            "min": round(min(self.values), 4),
            "median": round(self.median, 4),
            "max": round(max(self.values), 4),
            "unit": self.unit,
            "runs": len(self.values),
        }


def timed(work: Callable[[], object]) -> float:
    """Return how many seconds *work* takes."""
    started = time.monotonic()
    work()
    return time.monotonic() - started


def measure_boots(make: Callable[[Path], VirtualMachine], logs: Path, runs: int) -> Figure:
    """Boot machines, each up to its first answer over SSH."""
    seconds = []
    for run in range(runs):
        with contextlib.closing(make(logs / f"boot-{run}")) as machine:
            seconds.append(timed(machine.start))
    return Figure("boot_to_ssh", "s", tuple(seconds))


def measure_clones(templates: Templates, logs: Path, runs: int) -> tuple[Figure, Figure]:
    """Clone machines, each up to its first answer over SSH; then time commands in one."""
    templates.start(logs / "template").machine.close()
    seconds = []
    for run in range(runs):
        started = time.monotonic()
        with templates.start(logs / f"clone-{run}").machine as machine:
            seconds.append(time.monotonic() - started)
    with templates.start(logs / "commands").machine as machine:
        commands = tuple(timed(lambda: machine.check(["true"])) for _ in range(runs))
    return Figure("clone_to_ssh", "s", tuple(seconds)), Figure("ssh_command", "s", commands)


def measure_updates(templates: Templates, logs: Path, runs: int) -> tuple[Figure, Figure]:
    """Live-update clones: preserve to verified, and the blackout in it."""
    trips, blackouts = [], []
    for run in range(runs):
        with templates.start(logs / f"update-{run}").machine as machine:
            update = LiveUpdate(machine)
            started = time.monotonic()
            update.preserve_memfds(Memfd("data", size=MIB))
            update.execute()
            update.retrieve()
            update.verify()
            trips.append(time.monotonic() - started)
            blackouts.append(update.stages["blackout"])
    return (
        Figure("liveupdate_roundtrip", "s", tuple(trips)),
        Figure("blackout", "s", tuple(blackouts)),
    )


def measure_builds(pipeline_for: Callable[[Path], Pipeline], directory: Path, runs: int) -> Figure:
    """Build the kernel with one more line in the orchestrator, another one each time.

    :param pipeline_for: returns the pipeline of a target with that patch on top.
    """
    seconds = []
    for run in range(runs):
        patch = directory / f"line-{run}.patch"
        patch.write_text(_LINE.format(text=f"one line more: {time.time_ns()}"))
        pipeline = pipeline_for(patch)
        _ = pipeline.position()
        seconds.append(timed(pipeline.build))
    return Figure("incremental_build", "s", tuple(seconds))


_LINE = """\
From 0000000000000000000000000000000000000000 Mon Sep 17 00:00:00 2001
From: Harness Developers <harness@localhost>
Date: Tue, 24 Nov 2026 00:00:00 +0000
Subject: [PATCH] bench: one line more

---
 kernel/liveupdate/luo_core.c | 1 +
 1 file changed, 1 insertion(+)

diff --git a/kernel/liveupdate/luo_core.c b/kernel/liveupdate/luo_core.c
--- a/kernel/liveupdate/luo_core.c
+++ b/kernel/liveupdate/luo_core.c
@@ -1,1 +1,2 @@
 // SPDX-License-Identifier: GPL-2.0
+/* {text} */
"""


def measure_memory(templates: Templates, logs: Path, clones: int) -> Figure:
    """Run clones side by side and return what each of them holds for itself.

    It is the memory that no other process shares (``Private_*`` of ``smaps_rollup``, see
    ``Documentation/filesystems/proc.rst``): what a clone wrote, and QEMU's own.
    """
    with contextlib.ExitStack() as stack:
        machines = [
            stack.enter_context(templates.start(logs / f"beside-{number}").machine)
            for number in range(clones)
        ]
        for machine in machines:
            machine.must("ping")
        return Figure("clone_memory", "MiB", tuple(_private_mib(m.qemu_pid) for m in machines))


def _private_mib(pid: int) -> float:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_")) / 1024


def figure_table(figures: Sequence[Figure]) -> Table:
    """Return figures as people read them."""
    table = Table(box=None, pad_edge=False)
    table.add_column("figure")
    for name in ("min", "median", "max", "unit", "runs"):
        table.add_column(name, justify="left" if name == "unit" else "right")
    for figure in figures:
        facts = figure.as_json()
        values = (f"{facts[name]:.3f}" for name in ("min", "median", "max"))
        table.add_row(figure.name, *values, figure.unit, str(facts["runs"]))
    return table
