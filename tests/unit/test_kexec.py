# SPDX-License-Identifier: GPL-2.0-only
"""What a kexec came to is told from the console and the boot ids."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from machines import BANNER, PANIC, STARTING, UP, FakeMachine

from harness.base.errors import InfrastructureError, KernelCrash, KexecError, KexecRefused
from harness.base.timeouts import GUEST
from harness.guest.archive import KERNEL_PATH
from harness.guest.kexec import Jump, go, load_next
from harness.guest.machine import Machine


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[FakeMachine]:
    made = FakeMachine(tmp_path / "console.log")
    yield made
    made.close()


def gone(machine: FakeMachine) -> Jump:
    return go(cast(Machine, machine), None)  # type: ignore[arg-type]


# -- loading ---------------------------------------------------------------------------------


class Loading:
    """A machine in its first kernel, and what is put into its guest."""

    timeouts = GUEST

    def __init__(self, tmp_path: Path, answer: dict[str, Any]) -> None:
        self.answer = answer
        self.asked: list[tuple[object, ...]] = []
        self.put_there: list[str] = []
        self.checked: list[object] = []
        self.epoch = self.build("same")
        self.console = type("Console", (), {"log_file": tmp_path / "console.log"})
        self.guest = self
        for name in ("shared", "own", "other"):
            (tmp_path / name).write_bytes(b"0123")
        self.tmp_path = tmp_path
        self.initrds = {
            key: type("Initrd", (), {"shared": (shared,), "own": own, "next_bytes": 8})
            for key, shared, own in (
                ("same", tmp_path / "shared", tmp_path / "own"),
                ("other", tmp_path / "shared", tmp_path / "other"),
                ("far", tmp_path / "other", tmp_path / "other"),
            )
        }

    def build(self, key: str, number: int = 0) -> Any:
        made = type("Build", (), {"key": key, "release": f"7.0-{key}", "image": Path("kernel")})
        return type("Epoch", (), {"build": made, "number": number, **vars(made)})

    def initrd_of(self, build: Any) -> Any:
        return self.initrds[build.key]

    def read(self, path: str) -> str:
        assert path == "/proc/cmdline"
        return "console=ttyS0 quiet\n"

    def put(self, source: object, path: str, *, timeout_s: float) -> None:
        self.put_there.append(path)

    def check(self, words: object, *, timeout_s: float = 0.0) -> str:
        self.checked.append(words)
        return ""

    def agent(self, *words: object, timeout_s: float) -> dict[str, Any]:
        self.asked.append(words)
        return self.answer

    def load(self, key: str) -> None:
        load_next(cast(Machine, self), self.build(key).build)


def test_what_the_guest_has_is_not_sent_again(tmp_path: Path) -> None:
    machine = Loading(tmp_path, {"ok": True})
    machine.load("same")
    assert machine.put_there == []
    (words,) = machine.asked
    assert words == ("kexec-load", KERNEL_PATH, "/sys/firmware/initrd", 8, "console=ttyS0 quiet")


def test_of_another_build_only_what_differs_is_sent(tmp_path: Path) -> None:
    machine = Loading(tmp_path, {"ok": True})
    machine.load("other")
    assert machine.put_there == ["/run/next/kernel", "/run/next/sent"]
    (words,) = machine.asked
    # The shared part is what the kernel kept; what is its own comes behind it.
    assert words[:4] == ("kexec-load", "/run/next/kernel", "/run/next/initrd", 8 + 4)
    assert any("head -c 8 /sys/firmware/initrd" in str(words) for words in machine.checked)
    assert machine.checked[-1] == ["rm", "-rf", "/run/next"]


def test_initrd_that_differs_altogether_is_sent_whole(tmp_path: Path) -> None:
    machine = Loading(tmp_path, {"ok": True})
    machine.load("far")
    assert not any("head -c" in str(words) for words in machine.checked)
    assert machine.asked[0][2:4] == ("/run/next/initrd", 8)


def test_second_kernel_gets_its_image_although_the_build_is_the_same(tmp_path: Path) -> None:
    """Only the kernel that QEMU booted brought it along."""
    machine = Loading(tmp_path, {"ok": True})
    machine.epoch = machine.build("same", number=1)
    machine.load("same")
    assert machine.put_there == ["/run/next/kernel"]


def test_kernel_that_is_not_accepted_is_told(tmp_path: Path) -> None:
    machine = Loading(tmp_path, {"ok": False, "error": "EADDRNOTAVAIL"})
    with pytest.raises(KexecError, match=r"refused 7\.0-same: EADDRNOTAVAIL") as caught:
        machine.load("same")
    assert "EADDRNOTAVAIL" in (caught.value.hint or "")
    assert caught.value.log == tmp_path / "console.log"


# -- waiting for the second kernel -----------------------------------------------------------


def test_jump_has_both_kernels_and_where_it_began(machine: FakeMachine) -> None:
    machine.print("before\n")
    mark = machine.console.mark()
    machine.on_kexec = lambda: machine.print(STARTING + BANNER + UP)
    jump = gone(machine)
    assert (jump.before.boot_id, jump.after.boot_id, jump.mark) == ("a", "b", mark)
    assert jump.blackout_s > 0
    assert machine.asked == [("counters",)], "those of the first kernel would be lost"


def test_go_does_not_take_the_first_boot_for_the_second(machine: FakeMachine) -> None:
    machine.print(BANNER + UP)
    machine.on_kexec = machine.end
    with pytest.raises(KexecError, match="ended before the jump"):
        gone(machine)


def test_refusal_says_what_the_kernel_said(machine: FakeMachine) -> None:
    machine.on_kexec = lambda: machine.print("harness: kexec refused: reboot: EBUSY\n")
    with pytest.raises(KexecRefused, match=r"reboot: EBUSY$"):
        gone(machine)


def test_refusal_that_comes_in_pieces_is_read_to_the_end_of_its_line(machine: FakeMachine) -> None:
    rest = threading.Timer(0.3, machine.print, ["oot: EBUSY\n"])

    def refuse() -> None:
        machine.print("harness: kexec refused: reb")
        rest.start()

    machine.on_kexec = refuse
    try:
        with pytest.raises(KexecRefused, match=r"reboot: EBUSY$"):
            gone(machine)
    finally:
        rest.join()


@pytest.mark.parametrize(
    ("before", "which"), [("", "first"), (STARTING, "second"), (BANNER, "second")]
)
def test_panic_is_the_verdict_on_the_kernel_that_ran(
    before: str, which: str, machine: FakeMachine
) -> None:
    machine.on_kexec = lambda: machine.prints_and_ends(before + PANIC)
    with pytest.raises(KernelCrash, match=f"the {which} kernel died.*asked for") as caught:
        gone(machine)
    assert "Kernel panic" in (caught.value.splat or "")
    assert caught.value.log == machine.console.log_file


@pytest.mark.parametrize(
    ("before", "where"), [("", "before"), (STARTING, "after"), (BANNER, "after")]
)
def test_end_of_the_machine_is_told_with_its_place(
    before: str, where: str, machine: FakeMachine
) -> None:
    machine.on_kexec = lambda: machine.prints_and_ends(before + "last words\n")
    with pytest.raises(KexecError, match=f"ended {where} the jump.*last words"):
        gone(machine)


def test_silence_is_no_verdict_on_the_kernel(machine: FakeMachine) -> None:
    machine.timeouts = GUEST.scaled(0.005)
    machine.on_kexec = lambda: machine.print(STARTING)
    with pytest.raises(InfrastructureError, match="Starting new kernel"):
        gone(machine)


# -- the proof -------------------------------------------------------------------------------


def test_proof_needs_no_last_line_of_the_first_kernel(machine: FakeMachine) -> None:
    """Another CPU that was printing may be stopped before it gets to that line."""
    machine.on_kexec = lambda: machine.print(BANNER + UP)
    assert gone(machine).after.boot_id == "b"


@pytest.mark.parametrize(
    ("text", "boot_ids", "why"),
    [
        (STARTING + BANNER + UP, ("a", "a"), "the old kernel still runs"),
        (UP, ("a", "b"), "there was no kexec"),
        ("a program says Linux version unknown\n" + UP, ("a", "b"), "there was no kexec"),
    ],
)
def test_proof_that_lacks_one_thing_names_it(
    text: str, boot_ids: tuple[str, str], why: str, machine: FakeMachine
) -> None:
    machine.boot_ids = boot_ids
    machine.on_kexec = lambda: machine.print(text)
    with pytest.raises(KexecError, match=why):
        gone(machine)


def test_proof_ignores_what_was_printed_before(machine: FakeMachine) -> None:
    machine.print(STARTING + BANNER)
    machine.on_kexec = lambda: machine.print(UP)
    with pytest.raises(KexecError, match="there was no kexec"):
        gone(machine)
