# SPDX-License-Identifier: GPL-2.0-only
"""The test module of live updates: what it is told, what it has counted."""

from __future__ import annotations

import errno
from dataclasses import dataclass

from harness.guest.machine import Machine
from harness.guest.module import KernelModule

NAME = "luo_test"
_DEBUGFS = f"/sys/kernel/debug/{NAME}"
CONTROL = f"{_DEBUGFS}/control"
"""The file that takes commands, for those who write to it without waiting for the answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlAnswer:
    """What a command of the test module's ``control`` file came to.

    :param error: an errno name, ``None`` when it worked.
    :param returned: ``"void"`` where the kernel function returns nothing, else its value.
    """

    error: str | None
    returned: str


class TestModule(KernelModule):
    """The test module in whatever kernel a machine runs (``tests/kmod/README.md``)."""

    __test__ = False  # not a test class, whatever pytest thinks of its name

    def control(self, command: str) -> ControlAnswer:
        """Give the module a command: ``register handler 0``, ``unregister flb 1``, ..."""
        self.guest().write(CONTROL, command)
        returned = self.last_answer(command)
        if returned is None:
            raise AssertionError(f"the module did not take the command {command!r}")
        value = 0 if returned == "void" else int(returned)
        return ControlAnswer(
            error=errno.errorcode[-value] if value < 0 else None, returned=returned
        )

    def last_answer(self, command: str) -> str | None:
        """Return what the last command came to, ``None`` when it was not *command*."""
        text = self.guest().read(f"{_DEBUGFS}/result")
        lines = dict(line.split(maxsplit=1) for line in text.splitlines())
        return lines["return"] if lines.get("command") == command else None

    def let_go(self) -> None:
        """Unregister everything: without the series, what is registered pins the module."""
        self.control("unregister all")

    def counters(self) -> dict[str, int]:
        """Return every counter: ``handler0.preserve``, ``flb1.retrieve``, ``violation``, ..."""
        text = self.guest().read(f"{_DEBUGFS}/counters")
        return {name: int(value) for name, value in (line.split() for line in text.splitlines())}

    def state(self) -> dict[str, str]:
        """Return what the module knows about itself: name -> the rest of the line."""
        text = self.guest().read(f"{_DEBUGFS}/state")
        return {
            name: rest[0] if rest else ""
            for name, *rest in (line.split(maxsplit=1) for line in text.splitlines())
        }

    def fail(self, callback: str, error: str, times: int = 1) -> None:
        """Let the next calls of a callback fail: ``fail("handler0.preserve", "ENOMEM")``."""
        refused = self.guest().write(f"{_DEBUGFS}/fail", f"{callback} -{error} {times}")
        if refused is not None:
            raise AssertionError(f"the module cannot fail {callback} with {error}: {refused}")


def luo_test(machine: Machine) -> TestModule:
    """Return the test module in whatever kernel *machine* runs."""
    return machine.module_as(NAME, TestModule)
