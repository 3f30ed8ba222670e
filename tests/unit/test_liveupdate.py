# SPDX-License-Identifier: GPL-2.0-only
"""What a live update came to is told from the console, the boot ids and the agent's answers."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.base.errors import InfrastructureError, KernelCrash, LiveUpdateError, UpdateRefused
from harness.guest.console import Console
from harness.guest.machine import READY, Epoch
from harness.liveupdate.update import LiveUpdate, Memfd

SOON = 10.0
STARTING = "[   30.1] kexec_core: Starting new kernel\n"
HANDOVER = "[    0.0] KHO: found kexec handover data.\n"
RECEIVED = "[    0.3] luo: Retrieved live update data, liveupdate number: 12\n"
PANIC = "[   31.0] Kernel panic - not syncing: asked for\n"


class FakeVm:
    """A real console whose guest is the test, and an agent that answers what it is told to."""

    timeout_scale = 1.0
    qemu_pid = 4711

    def __init__(self, log: Path) -> None:
        reader, self.out = os.pipe()
        self.typed, writer = os.pipe()
        self.console = Console(reader, writer, log)
        self.asked: list[tuple[object, ...]] = []
        self.answers: dict[str, dict[str, Any]] = {}

    def print(self, text: str) -> None:
        wanted = self.console.mark() + len(text)
        os.write(self.out, text.encode())
        deadline = time.monotonic() + SOON
        while self.console.mark() < wanted:
            assert time.monotonic() < deadline
            time.sleep(0.005)

    def end(self) -> None:
        if self.out >= 0:
            os.close(self.out)
            self.out = -1

    def close(self) -> None:
        self.console.close()
        self.end()
        os.close(self.typed)

    def must(self, *words: object) -> dict[str, Any]:
        return self.must_all([words])[0]

    def must_all(
        self, commands: list[tuple[object, ...]], *, timeout_s: float = 0.0
    ) -> list[dict[str, Any]]:
        self.asked += commands
        return [self.answers.get(str(words[1]), {}) for words in commands]


@pytest.fixture
def vm(tmp_path: Path) -> Iterator[FakeVm]:
    made = FakeVm(tmp_path / "console.log")
    yield made
    made.close()


@pytest.fixture
def update(vm: FakeVm) -> LiveUpdate:
    return LiveUpdate(vm)  # type: ignore[arg-type]


def epoch(number: int, boot_id: str) -> Epoch:
    return Epoch(
        number=number,
        build=None,  # type: ignore[arg-type]
        boot_id=boot_id,
        release=f"7.0.13-p{number}",
        console_mark=0,
    )


# -- waiting for the second kernel -----------------------------------------------------------


def test_wait_ends_when_the_guest_is_ready(vm: FakeVm, update: LiveUpdate) -> None:
    vm.print(STARTING + READY + "\n")
    update._wait(0)


def test_wait_does_not_take_the_first_boot_for_the_second(vm: FakeVm, update: LiveUpdate) -> None:
    vm.print(READY + "\n")
    mark = vm.console.mark()
    vm.end()
    with pytest.raises(LiveUpdateError):
        update._wait(mark)


def test_refusal_says_what_the_kernel_said(vm: FakeVm, update: LiveUpdate) -> None:
    vm.print("harness: kexec refused: reboot: EBUSY\n")
    with pytest.raises(UpdateRefused, match=r"reboot: EBUSY$"):
        update._wait(0)


def test_refusal_that_comes_in_pieces_is_read_to_the_end_of_its_line(
    vm: FakeVm, update: LiveUpdate
) -> None:
    vm.print("harness: kexec refused: reb")
    rest = threading.Timer(0.3, vm.print, ["oot: EBUSY\n"])
    rest.start()
    try:
        with pytest.raises(UpdateRefused, match=r"reboot: EBUSY$"):
            update._wait(0)
    finally:
        rest.join()


@pytest.mark.parametrize(("before", "which"), [("", "first"), (STARTING, "second")])
def test_panic_is_the_verdict_on_the_kernel_that_ran(
    before: str, which: str, vm: FakeVm, update: LiveUpdate
) -> None:
    vm.print(before + PANIC)
    vm.end()
    with pytest.raises(KernelCrash, match=f"the {which} kernel died.*asked for") as caught:
        update._wait(0)
    assert "Kernel panic" in caught.value.splat
    assert caught.value.log == vm.console.log_file


@pytest.mark.parametrize(("before", "where"), [("", "before"), (STARTING, "after")])
def test_end_of_the_machine_is_told_with_its_place(
    before: str, where: str, vm: FakeVm, update: LiveUpdate
) -> None:
    vm.print(before + "last words\n")
    vm.end()
    with pytest.raises(LiveUpdateError, match=f"ended {where} the jump.*last words"):
        update._wait(0)


def test_silence_is_no_verdict_on_the_kernel(vm: FakeVm, update: LiveUpdate) -> None:
    vm.timeout_scale = 0.005
    vm.print(STARTING)
    with pytest.raises(InfrastructureError, match="Starting new kernel"):
        update._wait(0)


# -- the proof -------------------------------------------------------------------------------


def prove(update: LiveUpdate, *, boot_ids: tuple[str, str] = ("a", "b")) -> None:
    update.before, update.after = epoch(0, boot_ids[0]), epoch(1, boot_ids[1])
    update._prove(0)


def test_proof_of_a_live_update_has_its_number(vm: FakeVm, update: LiveUpdate) -> None:
    vm.print(STARTING + HANDOVER + RECEIVED)
    prove(update)
    assert update.number == 12


def test_proof_needs_no_last_line_of_the_first_kernel(vm: FakeVm, update: LiveUpdate) -> None:
    """Another CPU that was printing may be stopped before it gets to that line."""
    vm.print(HANDOVER + RECEIVED)
    prove(update)
    assert update.number == 12


@pytest.mark.parametrize(
    ("text", "boot_ids", "why"),
    [
        (STARTING + HANDOVER + RECEIVED, ("a", "a"), "the old kernel still runs"),
        (RECEIVED, ("a", "b"), "there was no kexec"),
        (STARTING + RECEIVED, ("a", "b"), "no kexec handover data"),
        (STARTING + HANDOVER, ("a", "b"), "received nothing"),
    ],
)
def test_proof_that_lacks_one_thing_names_it(
    text: str, boot_ids: tuple[str, str], why: str, vm: FakeVm, update: LiveUpdate
) -> None:
    vm.print(text)
    with pytest.raises(LiveUpdateError, match=why):
        prove(update, boot_ids=boot_ids)


def test_proof_ignores_what_was_printed_before_the_mark(vm: FakeVm, update: LiveUpdate) -> None:
    vm.print(STARTING + HANDOVER + RECEIVED)
    update.before, update.after = epoch(0, "a"), epoch(1, "b")
    with pytest.raises(LiveUpdateError):
        update._prove(vm.console.mark())


def test_update_that_was_not_proven_is_no_evidence(vm: FakeVm, update: LiveUpdate) -> None:
    vm.print(STARTING + RECEIVED)
    with pytest.raises(LiveUpdateError):
        prove(update)
    assert update.result(test="test_x") is None


# -- files -----------------------------------------------------------------------------------

PRINT = {"size": 4096, "offset": 0, "seals": [], "sha256": "e3b0"}


def test_preserve_creates_the_session_once_and_counts_tokens(
    vm: FakeVm, update: LiveUpdate
) -> None:
    update.preserve("x")
    update.preserve("y")
    assert vm.asked.count(("session", "create", "harness")) == 1
    assert [item.token for item in update.preserved] == [1, 2]


def test_verify_accepts_what_is_as_it_was(vm: FakeVm, update: LiveUpdate) -> None:
    vm.answers["x"] = PRINT
    update.preserve("x")
    update.verify()


@pytest.mark.parametrize(
    ("key", "value"), [("size", 1), ("offset", 7), ("seals", ["write"]), ("sha256", "0")]
)
def test_verify_names_the_file_and_what_differs(
    key: str, value: object, vm: FakeVm, update: LiveUpdate
) -> None:
    vm.answers["x"] = PRINT
    update.preserve("x")
    vm.answers["x"] = PRINT | {key: value}
    with pytest.raises(AssertionError, match=f"x: {key} was"):
        update.verify()


@pytest.mark.parametrize(
    ("step", "asked"),
    [
        (LiveUpdate.retrieve, [("session", "retrieve", "s"), ("retrieve", "s", 5, "x")]),
        (LiveUpdate.finish, [("session", "finish", "s"), ("session", "close", "s")]),
    ],
)
def test_what_was_preserved_is_retrieved_and_finished(
    step: Callable[[LiveUpdate], None],
    asked: list[tuple[object, ...]],
    vm: FakeVm,
    update: LiveUpdate,
) -> None:
    update.preserve("x", session="s", token=5)
    vm.asked.clear()
    step(update)
    assert vm.asked == asked


def test_memfd_command_has_seals_only_where_there_are_some() -> None:
    plain = Memfd("m", size=3).command
    sealed = Memfd("m", size=3, seals=("write", "shrink")).command
    assert plain[:3] == ("memfd", "create", "m")
    assert sealed == (*plain, "--seal", "write,shrink")


# -- evidence --------------------------------------------------------------------------------


def test_result_counts_what_was_preserved_and_verified(vm: FakeVm, update: LiveUpdate) -> None:
    update.preserve("x")
    update.preserve("y")
    vm.print(STARTING + HANDOVER + RECEIVED)
    prove(update)
    update.verify("y")
    found = update.result(test="test_x")
    assert found is not None
    assert (found.preserved, found.compared, found.verified) == (2, 1, 1)
    assert (found.comparison, found.number) == ("1/1", 12)
    assert (found.from_release, found.to_release) == ("7.0.13-p0", "7.0.13-p1")


def test_result_tells_what_did_not_come_back_from_what_was_not_compared(
    vm: FakeVm, update: LiveUpdate
) -> None:
    for name in ("same", "other", "left alone"):
        update.preserve(name)
    vm.print(STARTING + HANDOVER + RECEIVED)
    prove(update)
    vm.answers["other"] = {"size": 1}
    with pytest.raises(AssertionError, match="other: size was None, is 1"):
        update.verify("same", "other")
    found = update.result(test="test_x")
    assert found is not None
    assert (found.preserved, found.compared, found.verified) == (3, 2, 1)
    assert found.comparison == "1/2"


def test_result_before_the_second_kernel_is_none(update: LiveUpdate) -> None:
    update.before = epoch(0, "a")
    assert update.result(test="test_x") is None
