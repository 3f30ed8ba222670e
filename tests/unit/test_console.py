# SPDX-License-Identifier: GPL-2.0-only
"""The console is drained whatever happens, logged with times, and watched with deadlines."""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from harness.base.errors import KernelCrash, MachineError, SilentGuestError
from harness.guest.console import Console

SOON = 5.0
RECORDED = Path(__file__).resolve().parents[1] / "data" / "console"


@dataclass
class Qemu:
    """The other ends of the pipes."""

    console: Console
    out: int
    typed: int
    log: Path
    _closed: list[int] = field(default_factory=list)

    def print(self, text: str | bytes) -> None:
        data = text.encode() if isinstance(text, str) else text
        while data:
            data = data[os.write(self.out, data) :]

    def end(self) -> None:
        if not self._closed:
            os.close(self.out)
            self._closed.append(self.out)


@pytest.fixture
def qemu(tmp_path: Path) -> Iterator[Qemu]:
    reader, out = os.pipe()
    typed, writer = os.pipe()
    log = tmp_path / "console.log"
    made = Qemu(Console(reader, writer, log), out, typed, log)
    yield made
    with contextlib.suppress(OSError):
        made.console.close()
    made.end()
    os.close(typed)


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SOON
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_everything_is_kept_without_carriage_returns(qemu: Qemu) -> None:
    qemu.print("one\r\ntwo\r\n")
    until(lambda: qemu.console.since(0) == "one\ntwo\n")


def test_log_has_a_time_before_each_line_and_only_there(qemu: Qemu) -> None:
    qemu.print("one\ntw")
    until(lambda: qemu.console.mark() == 6)
    qemu.print("o\n")
    until(lambda: qemu.console.mark() == 8)
    qemu.end()
    until(lambda: qemu.console.ended)
    assert re.fullmatch(r" +\d+\.\d{3}  one\n +\d+\.\d{3}  two\n", qemu.log.read_text())


def test_console_is_read_also_where_it_cannot_be_logged(caplog: pytest.LogCaptureFixture) -> None:
    reader, out = os.pipe()
    typed, writer = os.pipe()
    console = Console(reader, writer, Path("/dev/full"))
    try:
        for number in (1, 2):
            os.write(out, f"line {number}\n".encode())
            console.expect([f"line {number}"], timeout_s=SOON)
    finally:
        console.close()
        os.close(out)
        os.close(typed)
    assert caplog.text.count("no more is written to it: No space left on device") == 1


def test_bytes_that_are_no_utf8_are_replaced(qemu: Qemu) -> None:
    qemu.print(b"a\xffb\n")
    until(lambda: qemu.console.since(0) == "a�b\n")


def test_character_that_comes_in_two_pieces_is_one(qemu: Qemu) -> None:
    """QEMU writes byte by byte."""
    qemu.print(b"a\xc3")
    until(lambda: qemu.console.mark() > 0)
    qemu.print(b"\xa9\n")
    until(lambda: qemu.console.since(0).endswith("\n"))
    assert qemu.console.since(0) == "a\u00e9\n"


def test_much_output_that_nobody_waits_for_does_not_block(qemu: Qemu) -> None:
    for _ in range(64):
        qemu.print("x" * 65535 + "\n")
    until(lambda: qemu.console.mark() == 64 * 65536)


def test_expect_returns_which_pattern_and_its_groups(qemu: Qemu) -> None:
    qemu.print("number 42\n")
    seen = qemu.console.expect(["letter (.)", r"number (\d+)"], timeout_s=SOON)
    assert (seen.index, seen.groups) == (1, ("42",))


def test_expect_finds_text_behind_much_that_was_read_before(qemu: Qemu) -> None:
    qemu.print("x" * 300_000 + "\nready\n")
    until(lambda: qemu.console.mark() > 300_000)
    assert qemu.console.expect(["ready"], timeout_s=SOON).index == 0


def test_expect_goes_on_where_it_stopped(qemu: Qemu) -> None:
    qemu.print("ready\n")
    qemu.console.expect(["ready"], timeout_s=SOON)
    with pytest.raises(SilentGuestError):
        qemu.console.expect(["ready"], timeout_s=0.1)


def test_expect_after_a_mark_ignores_what_came_before(qemu: Qemu) -> None:
    qemu.print("ready\n")
    until(lambda: qemu.console.mark() == 6)
    with pytest.raises(SilentGuestError):
        qemu.console.expect(["ready"], timeout_s=0.1, mark=qemu.console.mark())


def test_expect_from_a_mark_sees_what_was_there_already(qemu: Qemu) -> None:
    qemu.print("ready\n")
    qemu.console.expect(["ready"], timeout_s=SOON)
    assert qemu.console.expect(["ready"], timeout_s=SOON, mark=0).index == 0


def test_panic_ends_the_wait(qemu: Qemu) -> None:
    qemu.print("[    1.0] Kernel panic - not syncing: asked for\n[    1.0] CPU: 0\n")
    with pytest.raises(KernelCrash, match="asked for") as caught:
        qemu.console.expect(["ready"], timeout_s=SOON)
    assert "CPU: 0" in caught.value.splat
    assert caught.value.log == qemu.log


def test_panic_that_nobody_waited_for_is_raised_when_asked_for(qemu: Qemu) -> None:
    qemu.print("[    1.0] all is well\n")
    qemu.console.expect(["well"], timeout_s=SOON)
    qemu.console.raise_if_panicked()
    qemu.print("[    2.0] Kernel panic - not syncing: asked for\nend\n")
    with pytest.raises(KernelCrash, match="asked for"):
        qemu.console.expect(["never"], timeout_s=SOON)
    with pytest.raises(KernelCrash, match="asked for"):
        qemu.console.raise_if_panicked()


def test_panic_that_an_oops_ends_in_carries_the_oops(qemu: Qemu) -> None:
    """With oops=panic the trace is in the oops; the panic prints none."""
    qemu.print((RECORDED / "oops-panic.log").read_text())
    with pytest.raises(KernelCrash, match="Fatal exception") as caught:
        qemu.console.expect(["ready"], timeout_s=SOON)
    assert "kernel BUG at provoke.c" in caught.value.splat


def test_panic_that_an_oops_ends_in_is_told_by_the_oops(qemu: Qemu) -> None:
    """Although a driver and the registers come in between, and the panic has words of its own."""
    oops = (RECORDED / "oops-panic.log").read_text()
    stray = "[   35.337000] e1000 0000:00:02.0 eth0: NIC Link is Down\n"
    head, mark, tail = oops.partition("---[ end trace 0000000000000000 ]---\n")
    end = "[   35.36] ---[ end Kernel panic - not syncing: Fatal exception in interrupt ]---\n"
    tail = tail.replace("Fatal exception", "Fatal exception in interrupt") + end
    qemu.print(head + mark + stray + tail)
    with pytest.raises(KernelCrash) as caught:
        qemu.console.expect(["never"], timeout_s=20)
    assert caught.value.message == (
        "kernel BUG at provoke.c!; Kernel panic - not syncing: Fatal exception in interrupt"
    )
    assert "provoke_init+0x316" in caught.value.splat
    assert "end Kernel panic" in caught.value.splat


def test_message_about_a_console_moves_no_terminal(qemu: Qemu) -> None:
    qemu.print("\x1b[2J\x1b]0;mine\x07Kernel panic - not syncing: \x1b[31masked for\n")
    with pytest.raises(KernelCrash) as caught:
        qemu.console.expect(["never"], timeout_s=20)
    assert caught.value.message == "Kernel panic - not syncing: asked for"
    assert "\x1b" not in caught.value.splat + qemu.console.last_lines()


def test_panic_after_what_was_waited_for_is_not_in_the_way(qemu: Qemu) -> None:
    qemu.print("ready\nKernel panic - not syncing: asked for\n")
    assert qemu.console.expect(["ready"], timeout_s=SOON).index == 0


def test_end_of_qemu_ends_the_wait_with_the_last_lines(qemu: Qemu) -> None:
    qemu.print("last words\n")
    qemu.end()
    with pytest.raises(MachineError, match="last words"):
        qemu.console.expect(["ready"], timeout_s=SOON)


def test_panic_at_the_end_of_much_text_counts_when_qemu_is_gone(qemu: Qemu) -> None:
    """pexpect takes 2000 characters at a time, and QEMU ends as soon as the kernel is dead."""
    qemu.print(
        "[    1.0] RAX: 0000000000000001\n" * 800 + "Kernel panic - not syncing: asked for\n"
    )
    qemu.end()
    until(lambda: qemu.console.ended)
    with pytest.raises(KernelCrash, match="asked for"):
        qemu.console.expect(["ready"], timeout_s=SOON)


def test_panic_behind_more_than_a_pipe_takes_counts(qemu: Qemu) -> None:
    line = "[    1.0] WARNING: CPU: 0 PID: 1 at kernel/a.c:1 a function\n"
    qemu.print(line * 3000 + "Kernel panic - not syncing: asked for\n")
    qemu.end()
    until(lambda: qemu.console.ended)
    with pytest.raises(KernelCrash, match="asked for"):
        qemu.console.expect(["ready"], timeout_s=SOON)


def test_text_before_the_end_of_qemu_still_counts(qemu: Qemu) -> None:
    qemu.print("ready\n")
    qemu.end()
    assert qemu.console.expect(["ready"], timeout_s=SOON).index == 0


def test_silence_is_an_error_that_quotes_the_last_lines(qemu: Qemu) -> None:
    qemu.print("loading\n")
    until(lambda: qemu.console.mark() == 8)
    with pytest.raises(SilentGuestError, match="loading"):
        qemu.console.expect(["ready"], timeout_s=0.1)


def test_send_types(qemu: Qemu) -> None:
    qemu.console.send(b"ls\n")
    assert os.read(qemu.typed, 10) == b"ls\n"


def test_send_after_the_end_is_an_error(qemu: Qemu) -> None:
    qemu.end()
    until(lambda: qemu.console.ended)
    with pytest.raises(MachineError):
        qemu.console.send(b"ls\n")


def test_close_keeps_the_text_and_gives_the_descriptors_back(tmp_path: Path) -> None:
    before = set(Path("/proc/self/fd").iterdir())
    reader, out = os.pipe()
    typed, writer = os.pipe()
    console = Console(reader, writer, tmp_path / "console.log")
    os.write(out, b"kept\n")
    until(lambda: console.mark() == 5)
    console.close()
    os.close(out)
    os.close(typed)
    assert console.since(0) == "kept\n"
    assert set(Path("/proc/self/fd").iterdir()) == before


def test_console_says_when_something_was_printed(qemu: Qemu) -> None:
    before = time.monotonic()
    qemu.print("first\n")
    qemu.console.expect(["first"], timeout_s=5)
    between = time.monotonic()
    time.sleep(0.05)
    qemu.print("second\n")
    qemu.console.expect(["second"], timeout_s=5)
    first, second = qemu.console.when("first"), qemu.console.when("second")
    assert first is not None
    assert second is not None
    assert before <= first <= between < second
    assert qemu.console.when("third") is None
    assert qemu.console.when("first", mark=6) is None
