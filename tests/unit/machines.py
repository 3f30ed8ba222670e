# SPDX-License-Identifier: GPL-2.0-only
"""A machine whose guest is the test: a real console, and an agent that answers as it is told."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness.base.timeouts import GUEST
from harness.guest.console import Console
from harness.guest.epoch import Epoch
from harness.guest.machine import READY

SOON = 10.0
STARTING = "[   30.1] kexec_core: Starting new kernel\n"
BANNER = "[    0.0] Linux version 7.0.13-p01 (builder@host) (gcc 12.2.0)\n"
UP = READY + "\n"
PANIC = "[   31.0] Kernel panic - not syncing: asked for\n"


def epoch(number: int, boot_id: str) -> Epoch:
    return Epoch(
        number=number,
        build=None,  # type: ignore[arg-type]
        boot_id=boot_id,
        release=f"7.0.13-p{number}",
        console_mark=0,
    )


class FakeMachine:
    """A machine in its first kernel.

    ``on_kexec`` is what happens when it is told to go to the next one; ``boot_ids`` are those of
    the kernels that then answer, first and second.
    """

    timeouts = GUEST
    qemu_pid = 4711

    def __init__(self, log: Path) -> None:
        reader, self.out = os.pipe()
        self.typed, writer = os.pipe()
        self.console = Console(reader, writer, log)
        self.asked: list[tuple[object, ...]] = []
        self.answers: dict[str, dict[str, Any]] = {}
        self.on_kexec: Callable[[], None] = lambda: None
        self.boot_ids = ("a", "b")
        self.arrived = 0

    # -- the guest's side --------------------------------------------------------------------

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

    def prints_and_ends(self, text: str) -> None:
        self.print(text)
        self.end()

    def tell(self, command: str) -> None:
        assert command == "kexec"
        self.on_kexec()

    # -- the host's side ---------------------------------------------------------------------

    @property
    def guest(self) -> FakeMachine:
        return self

    @property
    def epoch(self) -> Epoch:
        return epoch(self.arrived, self.boot_ids[self.arrived])

    def arrive(self, build: object, *, console_mark: int) -> Epoch:
        self.arrived = 1
        return self.epoch

    def collect_counters(self, *, leaving: bool = False) -> None:
        self.asked.append(("counters",))

    def close(self) -> None:
        self.console.close()
        self.end()
        os.close(self.typed)

    def agent(self, *words: object) -> dict[str, Any]:
        return self.must(*words)

    def must(self, *words: object) -> dict[str, Any]:
        return self.must_all([words])[0]

    def must_all(
        self, commands: list[tuple[object, ...]], *, timeout_s: float = 0.0
    ) -> list[dict[str, Any]]:
        self.asked += commands
        return [self.answers.get(str(words[1]), {}) for words in commands]
