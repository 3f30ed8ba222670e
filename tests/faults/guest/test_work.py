# SPDX-License-Identifier: GPL-2.0-only
"""What a run of the battery does in its guests, so that there is something to disturb.

``FAULTS`` in the environment is a plan: JSON with the name of each test and the moment at which it
is disturbed, which is empty for a test that is left alone.  A test says in ``notes`` of the
directory ``FAULTS_DIR`` how far it is, and works on until a file there says that it was disturbed.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.guest.machine import Machine
from harness.liveupdate.module import TestModule
from harness.liveupdate.update import LiveUpdate, Memfd

DIRECTORY = Path(os.environ["FAULTS_DIR"])
PLAN: dict[str, str] = json.loads(os.environ["FAULTS"])

ANSWER_BYTES = 1 << 17
ROUNDS = 3
PATIENCE_S = 30.0


def work(machine: Machine) -> None:
    """One round: the agent, and a command with a long answer, which must be right."""
    machine.must("ping")
    text = machine.check(f"head -c {ANSWER_BYTES} /dev/zero | tr '\\0' x")
    assert hashlib.sha256(text.encode()).digest() == EXPECTED


EXPECTED = hashlib.sha256(b"x" * ANSWER_BYTES).digest()


def note(name: str, moment: str, pid: int = 0) -> None:
    """Say where a test is, and which QEMU its machine is."""
    with (DIRECTORY / "notes").open("a") as stream:
        stream.write(json.dumps({"test": name, "moment": moment, "pid": pid}) + "\n")


@pytest.fixture(autouse=True)
def said(name: str) -> Iterator[None]:
    """Say when a test begins, before it has a machine, and when it ends."""
    note(name, "start")
    yield
    note(name, "end")


def work_at(moment: str, name: str, machine: Machine) -> None:
    """Work until the test has been disturbed, and some more."""
    note(name, moment, machine.qemu_pid)
    deadline = time.monotonic() + PATIENCE_S
    # What was to happen before, and comes late, is waited for; what comes later is not.
    while PLAN[name] in ("start", "jump", moment) and not (DIRECTORY / name).exists():
        work(machine)
        assert time.monotonic() < deadline, "nobody disturbed the test"
    for _ in range(ROUNDS):
        work(machine)


@pytest.mark.parametrize("name", PLAN)
def test_work(
    machine: Machine, module: TestModule, live_update: Callable[..., LiveUpdate], name: str
) -> None:
    """Load the module and unload it, or, in a test whose name says so, do a live update."""
    if name.startswith("update"):
        update_at(machine, live_update(machine), name)
        return
    module.load(flbs=1)
    work_at("first", name, machine)
    assert module.unload() is None


def update_at(machine: Machine, update: LiveUpdate, name: str) -> None:
    update.preserve_memfds(Memfd("data", size=1 << 20))
    update.load()
    note(name, "jump", machine.qemu_pid)
    update.go()
    update.retrieve()
    work_at("second", name, machine)
    update.verify()
    update.finish()
