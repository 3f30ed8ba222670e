# SPDX-License-Identifier: GPL-2.0-only
"""What our own machines, builds and verdicts cost: the gauges of ``scripts/bench``."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.gauge import Gauge, Values, timed
from harness.base import command
from harness.base.errors import InfrastructureError, InputError
from harness.base.settings import settings_of
from harness.base.spec import PROJECT_ROOT, Target
from harness.base.suite import load_suite
from harness.guest.machine import Machine
from harness.guest.template import Templates
from harness.liveupdate.update import LiveUpdate, Memfd
from harness.results.records import CellStatus, MatrixRecord, read_record
from harness.run.pipeline import Pipeline

AT_ONCE = 8
"""Clones that run side by side."""

COMMANDS = 5
"""Commands that are timed in each clone."""

MIB = 1 << 20

PATCH = 7
"""The patch of the shipped series in which :func:`change_a_line` changes a line."""

_CHANGE = ("\n+\tprivate->users--;\n", "\n+\t(void){number}, private->users--;\n")
"""A statement that this patch adds; no later patch touches it or has it in its context."""


SELFTESTS = ("luo_kexec_simple", "luo_multi_session", "luo_stress_files", "luo_stress_sessions")
"""The kernel's own programs that go across a kexec; up to 7.0 there are no stress tests."""


# -- machines ------------------------------------------------------------------------------


def boot_gauge(name: str, make: Callable[[Path], Machine], *, cold: bool = False) -> Gauge:
    """Return what boots machines, each up to its first answer over SSH.

    :param cold: drop what QEMU reads from the page cache before each boot.
    """

    def measure(logs: Path) -> Values:
        with contextlib.closing(make(logs)) as machine:
            if cold:
                drop_from_page_cache(machine)
            return {name: (timed(machine.start),)}

    return Gauge(figures=(name,), measure=measure)


def drop_from_page_cache(machine: Machine) -> None:
    """Have the next boot read kernel, initrd and QEMU's binary from the disk.

    The kernel keeps what is dirty, or mapped by a running program (``posix_fadvise(2)``).
    """
    spec = machine.spec
    for path in (spec.kernel, *spec.initrds, command.which(spec.qemu)):
        if path is not None:
            with path.open("rb") as file:
                os.fsync(file.fileno())
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def clone_gauges(templates: Templates) -> tuple[Gauge, ...]:
    """Return what clones machines, runs commands in them and updates them."""

    def clone(logs: Path) -> Machine:
        return templates.start(logs).machine

    def prepare(logs: Path) -> None:
        clone(logs).close()

    return (
        Gauge(
            figures=("clone_to_ssh", "ssh_command"),
            measure=lambda logs: measure_clone(clone, logs),
            prepare=prepare,
        ),
        Gauge(
            figures=("liveupdate_roundtrip", "blackout", "clone_to_verified"),
            measure=lambda logs: measure_update(clone, logs),
            prepare=prepare,
        ),
        Gauge(
            figures=("clones_at_once", "clone_memory"),
            measure=lambda logs: measure_many(clone, logs),
            prepare=prepare,
            runs=3,
        ),
    )


def measure_clone(clone: Callable[[Path], Machine], logs: Path) -> Values:
    """Clone a machine up to its first answer over SSH, and time commands in it."""
    started = time.monotonic()
    with clone(logs) as machine:
        answered = time.monotonic() - started
        commands = [timed(lambda: machine.check(["true"])) for _ in range(COMMANDS)]
    return {"clone_to_ssh": (answered,), "ssh_command": commands}


def measure_update(clone: Callable[[Path], Machine], logs: Path) -> Values:
    """Live-update a clone: preserve to verified, and the blackout in it."""
    started = time.monotonic()
    with clone(logs) as machine:
        update = LiveUpdate(machine)
        cloned = time.monotonic()
        update.preserve_memfds(Memfd("data", size=MIB))
        update.execute()
        update.retrieve()
        update.verify()
        verified = time.monotonic()
    return {
        "liveupdate_roundtrip": (verified - cloned,),
        "blackout": (update.stages["blackout"],),
        "clone_to_verified": (verified - started,),
    }


def measure_many(clone: Callable[[Path], Machine], logs: Path) -> Values:
    """Start clones at once; time all of them, and see what each holds for itself.

    That is the memory that no other process shares (``Private_*`` of ``smaps_rollup``, see
    ``Documentation/filesystems/proc.rst``): what a clone wrote, and QEMU's own.
    """
    # QEMU dies with the thread that started it, so the threads go last.
    with ThreadPoolExecutor(AT_ONCE) as pool, contextlib.ExitStack() as stack:
        started = time.monotonic()
        coming = [pool.submit(clone, logs / str(number)) for number in range(AT_ONCE)]
        machines = [stack.enter_context(future.result()) for future in coming]
        for machine in machines:
            machine.must("ping")
        answered = time.monotonic() - started
        memory = [_private_mib(machine.qemu_pid) for machine in machines]
    return {"clones_at_once": (answered,), "clone_memory": memory}


def _private_mib(pid: int) -> float:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_")) / 1024


# -- builds --------------------------------------------------------------------------------


def build_gauge(pipeline_for: Callable[[Target], Pipeline], target: Target) -> Gauge:
    """Return what builds the kernel with one more line in the orchestrator, another each time."""

    def measure(logs: Path) -> Values:
        patch = logs / "line.patch"
        patch.write_text(_LINE.format(text=f"one line more: {time.time_ns()}"))
        pipeline = pipeline_for(dataclasses.replace(target, extra=(patch,)))
        _ = pipeline.position()
        seconds = timed(pipeline.build)
        # Nobody will ask for it again.
        entry = pipeline.build().directory
        pipeline.store.remove(entry.parent.name, entry.name)
        return {"incremental_build": (seconds,)}

    return Gauge(figures=("incremental_build",), measure=measure, runs=3, alone=True)


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
@@ -1,3 +1,4 @@
 // SPDX-License-Identifier: GPL-2.0
+/* {text} */
\x20
 /*
  * Copyright (c) 2025, Google LLC.
"""


# -- verdicts ------------------------------------------------------------------------------


def verdict_gauges(pipeline: Pipeline) -> tuple[Gauge, ...]:
    """Return what changes a patch and tests, and what runs the matrix: the commands themselves."""
    target = pipeline.target
    last = pipeline.applied.last

    def prepare(_logs: Path) -> None:
        for position in range(last + 1):
            pipeline.build(position)

    def matrix(name: str, *words: str) -> Callable[[Path], Values]:
        return lambda logs: {name: (timed(lambda: run_matrix(target, logs, *words)),)}

    return (
        Gauge(
            figures=("one_line_verdict",),
            measure=lambda logs: {"one_line_verdict": (one_line_verdict(target, logs),)},
            prepare=lambda _logs: pipeline.build(),
            runs=1,
            alone=True,
        ),
        Gauge(
            figures=("matrix",),
            measure=matrix("matrix", "--fresh"),
            prepare=prepare,
            runs=1,
            alone=True,
        ),
        Gauge(
            figures=("matrix_cached",),
            measure=matrix("matrix_cached"),
            prepare=lambda logs: run_matrix(target, logs),
            runs=3,
            alone=True,
        ),
    )


def selftests_gauge(pipeline: Pipeline) -> Gauge:
    """Return what runs the kernel's :data:`SELFTESTS` in our machines, by the command itself."""

    def prepare(logs: Path) -> None:
        pipeline.build()
        run_selftests(pipeline.target, logs)

    def measure(logs: Path) -> Values:
        return {"selftests": (timed(lambda: run_selftests(pipeline.target, logs)),)}

    return Gauge(
        figures=("selftests",),
        measure=measure,
        prepare=prepare,
        runs=3,
        # An older kernel does not have them all.
        foreign="selftest-stress" not in pipeline.build().features,
    )


def run_selftests(target: Target, logs: Path) -> None:
    """Run those of our tests that run :data:`SELFTESTS`, one after the other.

    :raises InfrastructureError: when a test fails, or the kernel does not have them all.
    """
    settings = [f"--{name}={value}" for name, value in settings_of(target).items()]
    json_file = logs / "run.json"
    words = [*settings, "--results", str(logs / "results"), "--json", str(json_file), "--"]
    words += [str(PROJECT_ROOT / "tests/guest/test_selftests.py"), "-k", _ACROSS_KEXEC]
    _harness(["run", *words], logs, good=(0,))
    passed = json.loads(json_file.read_text())["counts"]["passed"]
    if passed != len(SELFTESTS):
        raise InfrastructureError(f"{passed} of {len(SELFTESTS)} selftests ran and passed")


_ACROSS_KEXEC = "test_selftest_across_kexec"


def one_line_verdict(target: Target, logs: Path) -> float:
    """Change a line in a copy of the series; return the seconds to the verdict of all tests.

    :raises InputError: when the target is not the shipped series.
    :raises InfrastructureError: when a test fails, or there is no verdict.
    """
    shipped = load_suite(PROJECT_ROOT).series
    if shipped is None or target.series != shipped:
        raise InputError("the line to change is one of the shipped series")
    series = logs / "series"
    shutil.copytree(shipped, series)
    change_a_line(series, time.time_ns())
    words = [*_settings(target, series=str(series)), f"--profile={target.profile}"]
    words += ["--results", str(logs / "results"), "--", "-n", "auto", "--maxprocesses", "8"]
    return timed(lambda: _harness(["run", *words, "--dist", "loadfile"], logs, good=(0,)))


def change_a_line(series: Path, number: int) -> None:
    """Change one line of :data:`PATCH` in *series*: other text, the same meaning.

    :raises InputError: when the patch does not have the line.
    """
    (patch,) = series.glob(f"{PATCH:04}-*.patch")
    before, after = _CHANGE
    text = patch.read_text()
    if text.count(before) != 1:
        raise InputError(f"{patch.name} does not add {before.strip()!r} once")
    patch.write_text(text.replace(before, after.format(number=number)))


def run_matrix(target: Target, logs: Path, *words: str) -> None:
    """Run the matrix over all positions with the target's profile.

    :raises InfrastructureError: when it comes to no verdict.
    """
    given = [*_settings(target), f"--profile={target.profile}", "--keep-going", *words]
    json_file = logs / "matrix.json"
    words = ("matrix", *given, "--results", str(logs / "results"), "--json", str(json_file))
    _harness(words, logs, good=(0, 1))
    cells = read_record(json_file, MatrixRecord).positions
    untested = [str(cell.position) for cell in cells if cell.status is not CellStatus.TESTED]
    if untested:
        raise InfrastructureError(f"the matrix tested nothing at {', '.join(untested)}")


def _settings(target: Target, **instead: str) -> list[str]:
    """Return the target as options of the command line, without position and profile."""
    settings = settings_of(target) | instead
    return [
        f"--{name}={value}"
        for name, value in settings.items()
        if name not in ("position", "profile", "extra")
    ]


def _harness(words: Iterable[str], logs: Path, *, good: tuple[int, ...]) -> None:
    """Run the command as people do; the history does not hear of it.

    :raises InfrastructureError: when it ends with another status than the *good* ones.
    """
    log_file = logs / "harness.log"
    argv = [sys.executable, "-m", "harness", *words]
    status = command.run_attached(
        argv, env={"HARNESS_HISTORY": str(logs / "history.sqlite")}, log_file=log_file
    )
    if status not in good:
        said = [line for line in log_file.read_text(errors="replace").splitlines() if line.strip()]
        last = said[-1] if said else "it said nothing"
        raise InfrastructureError(f"{argv[3]} ended with status {status}: {last}")
