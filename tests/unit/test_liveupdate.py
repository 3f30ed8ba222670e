# SPDX-License-Identifier: GPL-2.0-only
"""What a live update came to is told from the console and the agent's answers."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from machines import BANNER, PANIC, STARTING, UP, FakeMachine, epoch
from shipped import SUITE

from harness.base.errors import KernelCrash, KexecError, KexecRefused
from harness.liveupdate.messages import handover_found, live_update_number
from harness.liveupdate.update import LiveUpdate, Memfd

HANDOVER = "[    0.0] KHO: found kexec handover data.\n"
RECEIVED = "[    0.3] luo: Retrieved live update data, liveupdate number: 12\n"

BOOT = Path(__file__).resolve().parents[1] / "data" / "console" / "boot.log"


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[FakeMachine]:
    made = FakeMachine(tmp_path / "console.log")
    yield made
    made.close()


@pytest.fixture
def update(machine: FakeMachine, monkeypatch: pytest.MonkeyPatch) -> LiveUpdate:
    made = LiveUpdate(machine)  # type: ignore[arg-type]
    monkeypatch.setattr("harness.liveupdate.update.load_next", lambda _machine, _build: None)
    return made


# -- the proof -------------------------------------------------------------------------------


def execute(machine: FakeMachine, update: LiveUpdate, text: str) -> None:
    """Do an update in which the next kernel prints *text* before it is up."""
    machine.on_kexec = lambda: machine.print(text + UP)
    update.execute()


def test_proof_of_a_live_update_has_its_number(machine: FakeMachine, update: LiveUpdate) -> None:
    execute(machine, update, STARTING + BANNER + HANDOVER + RECEIVED)
    assert update.number == 12


def test_proof_needs_no_last_line_of_the_first_kernel(
    machine: FakeMachine, update: LiveUpdate
) -> None:
    """Another CPU that was printing may be stopped before it gets to that line."""
    execute(machine, update, BANNER + HANDOVER + RECEIVED)
    assert update.number == 12


@pytest.mark.parametrize(
    ("text", "boot_ids", "why"),
    [
        (STARTING + HANDOVER + RECEIVED, ("a", "a"), "the old kernel still runs"),
        (RECEIVED, ("a", "b"), "there was no kexec"),
        (STARTING + RECEIVED, ("a", "b"), "no live update: .*no kexec handover data"),
        (STARTING + HANDOVER, ("a", "b"), "no live update: .*received nothing"),
    ],
)
def test_proof_that_lacks_one_thing_names_it(
    text: str, boot_ids: tuple[str, str], why: str, machine: FakeMachine, update: LiveUpdate
) -> None:
    machine.boot_ids = boot_ids
    with pytest.raises(KexecError, match=why) as caught:
        execute(machine, update, text)
    assert caught.value.log == machine.console.log_file


def test_proof_ignores_what_was_printed_before_the_mark(
    machine: FakeMachine, update: LiveUpdate
) -> None:
    machine.print(STARTING + HANDOVER + RECEIVED)
    with pytest.raises(KexecError, match="there was no kexec"):
        execute(machine, update, "")
    machine.arrived = 0
    with pytest.raises(KexecError, match="no kexec handover data"):
        execute(machine, update, STARTING)


def test_update_that_was_not_proven_is_no_evidence(
    machine: FakeMachine, update: LiveUpdate
) -> None:
    with pytest.raises(KexecError):
        execute(machine, update, STARTING + RECEIVED)
    assert update.after is not None
    assert update.result(test="test_x") is None


def test_update_that_is_refused_is_no_evidence(machine: FakeMachine, update: LiveUpdate) -> None:
    machine.on_kexec = lambda: machine.print("harness: kexec refused: reboot: EBUSY\n")
    with pytest.raises(KexecRefused, match="EBUSY"):
        update.execute()
    assert update.result(test="test_x") is None


def test_kernel_that_dies_in_the_update_is_told(machine: FakeMachine, update: LiveUpdate) -> None:
    machine.on_kexec = lambda: machine.prints_and_ends(BANNER + HANDOVER + PANIC)
    with pytest.raises(KernelCrash, match="the second kernel died"):
        update.execute()


# -- what kernels print ----------------------------------------------------------------------


def test_handover_is_found_in_a_kexeced_boot() -> None:
    assert handover_found("[    0.000000] KHO: found kexec handover data.\n")


def test_handover_is_not_found_in_a_cold_boot() -> None:
    assert not handover_found(BOOT.read_text())


def test_live_update_number_is_the_last_one() -> None:
    line = "luo: Retrieved live update data, liveupdate number: {}\n"
    assert live_update_number(line.format(1) + line.format(12)) == 12


def test_live_update_number_of_a_cold_boot_is_none() -> None:
    assert live_update_number(BOOT.read_text()) is None


def test_shipped_suite_finds_why_there_is_no_live_update() -> None:
    line = "KHO: Failed to reserve scratch area, disabling kexec handover"
    assert re.search(SUITE.preconditions.reason, line)
    assert not any(
        re.search(SUITE.preconditions.reason, line) for line in BOOT.read_text().splitlines()
    )


# -- files -----------------------------------------------------------------------------------

PRINT = {"size": 4096, "offset": 0, "seals": [], "sha256": "e3b0"}


def test_preserve_creates_the_session_once_and_counts_tokens(
    machine: FakeMachine, update: LiveUpdate
) -> None:
    update.preserve("x")
    update.preserve("y")
    assert machine.asked.count(("session", "create", "harness")) == 1
    assert [item.token for item in update.preserved] == [1, 2]


def test_verify_accepts_what_is_as_it_was(machine: FakeMachine, update: LiveUpdate) -> None:
    machine.answers["x"] = PRINT
    update.preserve("x")
    update.verify()


@pytest.mark.parametrize(
    ("key", "value"), [("size", 1), ("offset", 7), ("seals", ["write"]), ("sha256", "0")]
)
def test_verify_names_the_file_and_what_differs(
    key: str, value: object, machine: FakeMachine, update: LiveUpdate
) -> None:
    machine.answers["x"] = PRINT
    update.preserve("x")
    machine.answers["x"] = PRINT | {key: value}
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
    machine: FakeMachine,
    update: LiveUpdate,
) -> None:
    update.preserve("x", session="s", token=5)
    machine.asked.clear()
    step(update)
    assert machine.asked == asked


def test_memfd_command_has_seals_only_where_there_are_some() -> None:
    plain = Memfd("m", size=3).command
    sealed = Memfd("m", size=3, seals=("write", "shrink")).command
    assert plain[:3] == ("memfd", "create", "m")
    assert sealed == (*plain, "--seal", "write,shrink")


# -- evidence --------------------------------------------------------------------------------


def test_result_counts_what_was_preserved_and_verified(
    machine: FakeMachine, update: LiveUpdate
) -> None:
    update.preserve("x")
    update.preserve("y")
    execute(machine, update, STARTING + BANNER + HANDOVER + RECEIVED)
    update.verify("y")
    found = update.result(test="test_x")
    assert found is not None
    assert (found.preserved, found.compared, found.verified) == (2, 1, 1)
    assert (found.comparison, found.number) == ("1/1", 12)
    assert (found.from_release, found.to_release) == ("7.0.13-p0", "7.0.13-p1")


def test_result_tells_what_did_not_come_back_from_what_was_not_compared(
    machine: FakeMachine, update: LiveUpdate
) -> None:
    for name in ("same", "other", "left alone"):
        update.preserve(name)
    execute(machine, update, STARTING + BANNER + HANDOVER + RECEIVED)
    machine.answers["other"] = {"size": 1}
    with pytest.raises(AssertionError, match="other: size was None, is 1"):
        update.verify("same", "other")
    found = update.result(test="test_x")
    assert found is not None
    assert (found.preserved, found.compared, found.verified) == (3, 2, 1)
    assert found.comparison == "1/2"


def test_result_before_the_second_kernel_is_none(update: LiveUpdate) -> None:
    update.before = epoch(0, "a")
    assert update.result(test="test_x") is None
