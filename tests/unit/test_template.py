# SPDX-License-Identifier: GPL-2.0-only
from __future__ import annotations

import dataclasses
import gc
from pathlib import Path
from typing import Any, ClassVar, cast

import pytest

from harness.base.errors import ClockError, GuestError, MachineError
from harness.base.spec import MachineSpec
from harness.base.store import Store
from harness.base.suite import Preconditions
from harness.guest import template
from harness.guest.epoch import Saved
from harness.guest.machine import Machine
from harness.guest.qemu_argv import Memory
from harness.guest.template import Step, Templates


class Stand:
    """Stands in for a machine: its memory is a list of what was done to it.

    :cvar fast: one item for each of the next ones whose clock runs fast.
    """

    fast: ClassVar[list[None]] = []

    def __init__(self, made: list[Stand], memory: Memory | None, saved: Saved | None) -> None:
        self.memory, self.saved = memory, saved
        self.starts = self.closes = 0
        self.done: list[str] = []
        made.append(self)

    def start(self) -> None:
        self.starts += 1
        if self.fast:
            self.fast.pop()
            raise ClockError("its clock runs fast")
        if self.memory is not None and self.memory.state is not None:
            if self.memory.state.read_text() == "broken":
                raise MachineError("QEMU does not take it")
            self.done = self.memory.file.read_text().split()
        else:
            self.done = ["booted"]

    def save(self, state: Path) -> Saved:
        assert self.memory is not None
        assert not self.memory.private
        self.memory.file.write_text(" ".join(self.done))
        state.write_text("devices")
        return Saved(epochs=(), console="boot messages\n", modules=())

    def close(self) -> None:
        self.closes += 1


class Bench:
    """A store, the machines that were made, and their templates."""

    def __init__(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(template, "qemu_build", lambda _qemu: "QEMU emulator version 7.2.22")
        self.store = Store(tmp_path / "cache")
        self.logs = tmp_path / "logs"
        self.made: list[Stand] = []
        for name in ("kernel", "initrd"):
            (tmp_path / name).write_text(name)
        self.proven = Preconditions()
        self.spec = MachineSpec(
            arch="x86_64",
            qemu="qemu-system-x86_64",
            kernel=tmp_path / "kernel",
            initrds=(tmp_path / "initrd",),
            cmdline=("kho=on",),
            memory_mib=64,
            cpus=1,
            accel="tcg",
            timeout_scale=1.0,
        )

    def make(
        self, log_dir: Path, *, memory: Memory | None = None, saved: Saved | None = None
    ) -> Machine:
        return cast(Machine, Stand(self.made, memory, saved))

    def templates(self, **changes: Any) -> Templates:
        spec = dataclasses.replace(self.spec, **changes)
        return Templates(self.store, self.make, spec, "build", self.proven)

    def entry(self, step: Step | None = None) -> Path:
        found = self.store.get("template", self.templates().key(step))
        assert found is not None
        return found


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(tmp_path, monkeypatch)


def loaded(machine: Machine) -> dict[str, object]:
    cast(Stand, machine).done.append("loaded")
    return {"refs": 1, "names": ("a", "b")}


STEP = Step.of(loaded)


def done(machine: Machine) -> list[str]:
    return cast(Stand, machine).done


def test_machine_whose_clock_runs_fast_is_not_kept_but_booted_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Stand, "fast", [None])
    started = bench.templates().start(bench.logs)
    assert started.cloned
    assert done(started.machine) == ["booted"]
    assert [stand.starts for stand in bench.made] == [1, 1, 1]


def test_clock_that_runs_fast_twice_is_an_error(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Stand, "fast", [None, None])
    with pytest.raises(ClockError):
        bench.templates().start(bench.logs)
    assert list(bench.store.root.glob("objects/template/*")) == []


def test_first_machine_is_booted_once_and_cloned_ever_after(bench: Bench) -> None:
    booted: list[Machine] = []
    for _ in range(3):
        started = bench.templates().start(bench.logs, booting=booted.append)
        assert started.cloned
        assert done(started.machine) == ["booted"]
    clones = [machine for machine in bench.made if machine.memory and machine.memory.private]
    assert (len(booted), len(clones)) == (1, 3)
    assert cast(Stand, booted[0]).closes > 0
    assert all(clone.saved is not None for clone in clones)


def test_step_is_done_once_and_its_facts_are_kept(bench: Bench) -> None:
    for _ in range(2):
        started = bench.templates().start(bench.logs, STEP)
        assert done(started.machine) == ["booted", "loaded"]
        assert started.facts == {"refs": 1, "names": ["a", "b"]}
    # The state before the step is a template of its own, and did not change.
    assert done(bench.templates().start(bench.logs).machine) == ["booted"]
    assert sum(stand.done == ["booted"] and stand.memory is not None for stand in bench.made) > 0


def test_machine_without_templates_comes_to_the_same(bench: Bench) -> None:
    cloned = bench.templates().start(bench.logs, STEP)
    booted = bench.templates().boot(bench.logs, STEP)
    assert not booted.cloned
    assert (done(booted.machine), booted.facts) == (done(cloned.machine), cloned.facts)


def test_step_that_fails_leaves_no_template(bench: Bench) -> None:
    def fails(_machine: Machine) -> None:
        raise GuestError("it does not answer")

    step = Step.of(fails)
    with pytest.raises(GuestError, match="does not answer"):
        bench.templates().start(bench.logs, step)
    assert bench.store.get("template", bench.templates().key(step)) is None
    assert all(stand.closes for stand in bench.made)


@pytest.mark.parametrize("damage", ["state", "memory", "missing"])
def test_template_that_cannot_be_used_is_made_anew(bench: Bench, damage: str) -> None:
    bench.templates().start(bench.logs)
    if damage == "state":
        # QEMU refuses it, though it is the file that was stored.
        path = bench.entry() / "devices"
        with bench.store.produce("template", bench.templates().key()) as entry:
            for name in ("memory", "saved.json"):
                (entry / name).write_bytes((path.parent / name).read_bytes())
            (entry / "devices").write_text("broken")
    elif damage == "memory":
        (bench.entry() / "memory").write_text("something else")
    else:
        (bench.entry() / "memory").unlink()
    booted: list[Machine] = []
    started = bench.templates().start(bench.logs, booting=booted.append)
    assert done(started.machine) == ["booted"]
    assert len(booted) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"cmdline": ("kho=off",)},
        {"memory_mib": 128},
        {"cpus": 2},
        {"extra_args": ("-device", "x")},
    ],
)
def test_other_machine_has_another_template(bench: Bench, change: dict[str, Any]) -> None:
    assert bench.templates(**change).key() != bench.templates().key()


def test_other_qemu_kernel_or_initrd_has_another_template(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = [bench.templates().key(), bench.templates().key(STEP)]
    bench.spec.kernel.write_text("other")
    keys.append(bench.templates().key())
    bench.spec.initrds[0].write_text("other")
    keys.append(bench.templates().key())
    monkeypatch.setattr(template, "qemu_build", lambda _qemu: "QEMU emulator version 7.2.22 (own)")
    keys.append(bench.templates().key())
    assert len(set(keys)) == len(keys)


def test_room_is_made_when_a_template_was(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def there(cpus: int) -> bool:
        return (bench.store.root / "objects/template" / bench.templates(cpus=cpus).key()).is_dir()

    for cpus in (1, 2):
        bench.templates(cpus=cpus).start(bench.logs)
    assert there(1)
    # Another process: this one holds what it uses.
    bench.store = Store(bench.store.root)
    gc.collect()
    monkeypatch.setenv("HARNESS_ROOM", "0")
    bench.templates(cpus=3).start(bench.logs)
    assert [there(cpus) for cpus in (1, 2, 3)] == [False, False, True]


def test_step_in_another_file_is_another_step(bench: Bench, tmp_path: Path) -> None:
    def moved(text: str) -> str:
        file = tmp_path / "states.py"
        file.write_text(text)
        return bench.templates().key(dataclasses.replace(STEP, source=file))

    assert len({moved("a"), moved("b"), bench.templates().key(STEP)}) == 3
