# SPDX-License-Identifier: GPL-2.0-only
"""A refusal of the next kernel is told from what it loses, and from its death."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from machines import BANNER, PANIC, STARTING, UP, FakeMachine

from harness.base.errors import KernelCrash, KexecError, KexecRefused
from harness.liveupdate.handover import hand_over
from harness.liveupdate.update import LiveUpdate
from harness.results.compat import Refused

RECEIVED = (
    "[    0.0] KHO: found kexec handover data.\n"
    "[    0.3] luo: Retrieved live update data, liveupdate number: 1\n"
)
INCOMPATIBLE = "KHO: setup: handover FDT (0x7fe) is incompatible with 'kho-v4': 1"
UNKNOWN = "luo_file: No registered handler for compatible 'memfd-v2'"
GIVEN = {"items": [{"name": "s"}]}


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[FakeMachine]:
    made = FakeMachine(tmp_path / "console.log")
    made.answers |= {"list": {"items": []}, "retrieve": {"ok": False}}
    yield made
    made.close()


@pytest.fixture
def update(machine: FakeMachine, monkeypatch: pytest.MonkeyPatch) -> LiveUpdate:
    made = LiveUpdate(machine)  # type: ignore[arg-type]
    monkeypatch.setattr("harness.liveupdate.update.load_next", lambda _machine, _build: None)
    made.preserve("x", session="s")
    return made


def go(
    machine: FakeMachine,
    update: LiveUpdate,
    text: str,
    prepare: Callable[[], object] = lambda: None,
) -> None:
    machine.on_kexec = lambda: machine.print(STARTING + BANNER + text + UP)
    hand_over(update, None, prepare)  # type: ignore[arg-type]


def lose(monkeypatch: pytest.MonkeyPatch, why: str = "retrieve refused: EIO") -> None:
    def retrieve(_update: LiveUpdate) -> None:
        raise AssertionError(why)

    monkeypatch.setattr(LiveUpdate, "retrieve", retrieve)


def test_what_is_carried_is_retrieved_after_what_has_to_come_first(
    machine: FakeMachine, update: LiveUpdate
) -> None:
    machine.asked.clear()
    go(machine, update, RECEIVED, lambda: machine.must("module", "load"))
    asked = [words for words in machine.asked if words != ("counters",)]
    assert asked == [("module", "load"), ("session", "retrieve", "s"), ("retrieve", "s", 1, "x")]


@pytest.mark.parametrize("text", ["", "[    0.0] KHO: found kexec handover data.\n"])
def test_kernel_that_takes_nothing_over_and_says_so_refuses(
    machine: FakeMachine, update: LiveUpdate, text: str
) -> None:
    with pytest.raises(Refused) as caught:
        go(machine, update, f"[    0.000000] {INCOMPATIBLE}\n{text}")
    assert str(caught.value) == INCOMPATIBLE


def test_kernel_that_takes_nothing_over_in_silence_has_lost_it(
    machine: FakeMachine, update: LiveUpdate
) -> None:
    with pytest.raises(AssertionError, match="does not say why") as caught:
        go(machine, update, "")
    assert not isinstance(caught.value, Refused)


def test_what_a_kernel_said_before_is_not_taken_for_a_refusal(
    machine: FakeMachine, update: LiveUpdate
) -> None:
    machine.print(f"[    0.000000] {INCOMPATIBLE}\n")
    with pytest.raises(AssertionError, match="does not say why"):
        go(machine, update, "")


def test_kernel_that_gives_nothing_out_and_says_so_refuses(
    machine: FakeMachine, update: LiveUpdate, monkeypatch: pytest.MonkeyPatch
) -> None:
    lose(monkeypatch)
    with pytest.raises(Refused, match="No registered handler"):
        go(machine, update, f"{RECEIVED}[    5.1] {UNKNOWN}\n")


def test_session_that_is_given_out_without_its_files_is_lost(
    machine: FakeMachine, update: LiveUpdate, monkeypatch: pytest.MonkeyPatch
) -> None:
    lose(monkeypatch, "retrieve x: ENOENT")
    machine.answers["list"] = GIVEN
    machine.asked.clear()
    with pytest.raises(AssertionError, match="x: ENOENT; it gives out 's'") as caught:
        go(machine, update, f"{RECEIVED}[    5.1] {UNKNOWN}\n")
    assert not isinstance(caught.value, Refused)
    # The agent takes a second retrieve for a mistake of the test.
    assert ("session", "retrieve", "s") not in machine.asked


@pytest.mark.parametrize(("ok", "kind"), [(False, Refused), (True, AssertionError)])
def test_session_that_can_be_retrieved_after_all_is_no_refusal(
    machine: FakeMachine, update: LiveUpdate, ok: bool, kind: type[AssertionError]
) -> None:
    machine.answers["retrieve"] = {"ok": ok}
    with pytest.raises(AssertionError) as caught:
        go(machine, update, f"[    0.000000] {INCOMPATIBLE}\n")
    assert type(caught.value) is kind


def test_next_kernel_that_panics_is_a_crash(machine: FakeMachine, update: LiveUpdate) -> None:
    machine.on_kexec = lambda: machine.prints_and_ends(STARTING + BANNER + PANIC)
    with pytest.raises(KernelCrash, match="the second kernel died"):
        hand_over(update, None)  # type: ignore[arg-type]


def test_next_kernel_that_dies_without_a_word_is_a_crash(
    machine: FakeMachine, update: LiveUpdate
) -> None:
    machine.on_kexec = lambda: machine.prints_and_ends(STARTING)
    with pytest.raises(KernelCrash, match="the next kernel died: the machine ended after"):
        hand_over(update, None)  # type: ignore[arg-type]


def test_machine_that_ends_before_the_jump_is_trouble_of_the_host(
    machine: FakeMachine, update: LiveUpdate
) -> None:
    machine.on_kexec = lambda: machine.prints_and_ends("so far so good\n")
    with pytest.raises(KexecError, match="ended before"):
        hand_over(update, None)  # type: ignore[arg-type]


def test_first_kernel_that_refuses_is_no_refusal_of_the_next(
    machine: FakeMachine, update: LiveUpdate
) -> None:
    machine.on_kexec = lambda: machine.print("harness: kexec refused: reboot: EBUSY\n")
    with pytest.raises(KexecRefused):
        hand_over(update, None)  # type: ignore[arg-type]
