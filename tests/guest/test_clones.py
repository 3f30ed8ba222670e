# SPDX-License-Identifier: GPL-2.0-only
"""Clones of one template: nothing of one is seen in another, and each can be updated."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.base.store import Store
from harness.guest.machine import Machine
from harness.kernel.build import KernelBuild
from harness.liveupdate.module import luo_test
from harness.liveupdate.update import LiveUpdate, Memfd
from harness.run.pipeline import Pipeline

pytestmark = [
    pytest.mark.catalogue,
    pytest.mark.machinery,
    pytest.mark.profiles("default"),
]

AT_ONCE = 8


def random_bytes(machine: Machine) -> str:
    return machine.check("head -c 16 /dev/urandom | od -An -tx1")


def test_clones_share_nothing_but_their_beginning(
    boot_machine: Callable[..., Machine],
) -> None:
    with boot_machine() as one, boot_machine() as two:
        assert one.epoch.boot_id == two.epoch.boot_id, "they are of one template"
        one.check("echo one >/run/mark")
        assert two.run(["test", "-e", "/run/mark"]).status == 1
        assert random_bytes(one) != random_bytes(two)
        for machine in (one, two):
            assert abs(int(machine.check(["date", "+%s"])) - time.time()) < 3


def test_eight_clones_at_once(boot_machine: Callable[..., Machine]) -> None:
    with contextlib.ExitStack() as stack:
        machines = [stack.enter_context(boot_machine()) for _ in range(AT_ONCE)]
        for number, machine in enumerate(machines):
            machine.must("session", "create", f"session {number}")
            machine.check(f"echo {number} >/run/mark")
        for number, machine in enumerate(machines):
            (session,) = machine.must("session", "list")["items"]
            assert session["name"] == f"session {number}"
            assert machine.check(["cat", "/run/mark"]) == f"{number}\n"
        assert len({random_bytes(machine) for machine in machines}) == AT_ONCE


def test_clones_are_updated_independently(
    boot_machine: Callable[..., Machine], live_update: Callable[..., LiveUpdate]
) -> None:
    with boot_machine() as one, boot_machine() as two:
        for seed, machine in enumerate((one, two), 1):
            update = live_update(machine)
            update.preserve_memfds(Memfd("data", size=1 << 16, seed=seed))
            update.execute()
            update.retrieve()
            update.verify()
            machine.must("check", "data", "--size", 1 << 16, "--seed", seed)
        assert one.epoch.boot_id != two.epoch.boot_id


@pytest.mark.parametrize("damage", ["devices", "memory"])
def test_damaged_template_is_made_anew(
    pipeline: Pipeline, kernel: KernelBuild, tmp_path: Path, damage: str
) -> None:
    store = Store(tmp_path / "cache")
    templates = pipeline.templates(kernel, store=store)
    templates.start(tmp_path / "first").machine.close()
    entry = store.get("template", templates.key())
    assert entry is not None
    with (entry / damage).open("r+b") as file:
        file.truncate(1 << 10)
    booted: list[Machine] = []
    with templates.start(tmp_path / "second", booting=booted.append).machine as machine:
        assert machine.must("ping")["ok"]
    assert len(booted) == 1
    with templates.start(tmp_path / "third", booting=booted.append).machine as machine:
        assert machine.must("ping")["ok"]
    assert len(booted) == 1


def mounts(machine: Machine) -> set[tuple[str, ...]]:
    """Return what is mounted where, as what, and how; limits of room follow the free memory."""
    found = set()
    for line in machine.check(["cat", "/proc/mounts"]).splitlines():
        source, where, kind, options, *_ = line.split()
        kept = [o for o in options.split(",") if o.partition("=")[0] not in ("size", "nr_inodes")]
        found.add((source, where, kind, *sorted(kept)))
    return found


def test_booted_machine_and_clone_are_alike(
    pipeline: Pipeline, kernel: KernelBuild, tmp_path: Path
) -> None:
    templates = pipeline.templates(kernel)
    with (
        templates.boot(tmp_path / "booted").machine as booted,
        templates.start(tmp_path / "cloned").machine as cloned,
    ):
        for command in ("uname -a", "cat /proc/cmdline", "ls -A / /run /dev", "ip addr"):
            assert booted.check(command) == cloned.check(command)
        assert {where for _, where, *_ in mounts(cloned)} >= {"/proc", "/sys", "/dev"}
        assert mounts(booted) == mounts(cloned)
        assert booted.epoch.release == cloned.epoch.release
        assert luo_test(booted).loaded == luo_test(cloned).loaded
