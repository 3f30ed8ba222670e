# SPDX-License-Identifier: GPL-2.0-only
"""The test module in a running kernel: loading it, what it is told, what it has counted."""

from __future__ import annotations

import errno
from collections.abc import Callable
from dataclasses import dataclass

from harness.guest.connection import Guest

KMOD = "luo_test"
KMOD_PATH = "/lib/luo/luo_test.ko"
KMOD_DEBUGFS = "/sys/kernel/debug/luo_test"


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlAnswer:
    """What a command of the test module's ``control`` file came to.

    :param error: an errno name, ``None`` when it worked.
    :param returned: ``"void"`` where the kernel function returns nothing, else its value.
    """

    error: str | None
    returned: str


class KernelModule:
    """The test module in whatever kernel a machine runs (``tests/kmod/README.md``).

    :param guest: returns the connection to that kernel.
    """

    def __init__(self, guest: Callable[[], Guest]) -> None:
        self._guest = guest
        self.may_be_loaded = False

    def forget(self) -> None:
        """Start anew: another kernel runs, and it has not loaded the module."""
        self.may_be_loaded = False

    @property
    def loaded(self) -> bool:
        """Whether the running kernel has the module."""
        return self.may_be_loaded and self.refcount() is not None

    def load(self, **parameters: object) -> None:
        """Load the module with *parameters*.

        :raises AssertionError: when the kernel refuses it.
        """
        self.may_be_loaded = True
        error = self._guest().insmod(KMOD_PATH, **parameters)
        if error is not None:
            raise AssertionError(f"insmod {KMOD_PATH}: {error}")

    def unload(self, *, force: bool = False) -> str | None:
        """Unload the module; return the errno name when the kernel refuses, else ``None``."""
        return self._guest().rmmod(KMOD, force=force)

    def refcount(self) -> int | None:
        """Return the module's reference count, ``None`` when it is not loaded."""
        return self._guest().refcount(KMOD)

    def control(self, command: str) -> ControlAnswer:
        """Give the module a command: ``register handler 0``, ``unregister flb 1``, ..."""
        guest = self._guest()
        guest.write(f"{KMOD_DEBUGFS}/control", command)
        lines = dict(
            line.split(maxsplit=1) for line in guest.read(f"{KMOD_DEBUGFS}/result").splitlines()
        )
        if lines["command"] != command:
            raise AssertionError(f"the module did not take the command {command!r}: {lines}")
        returned = lines["return"]
        value = 0 if returned == "void" else int(returned)
        return ControlAnswer(
            error=errno.errorcode[-value] if value < 0 else None, returned=returned
        )

    def counters(self) -> dict[str, int]:
        """Return every counter: ``handler0.preserve``, ``flb1.retrieve``, ``violation``, ..."""
        text = self._guest().read(f"{KMOD_DEBUGFS}/counters")
        return {name: int(value) for name, value in (line.split() for line in text.splitlines())}

    def state(self) -> dict[str, str]:
        """Return what the module knows about itself: name -> the rest of the line."""
        text = self._guest().read(f"{KMOD_DEBUGFS}/state")
        return {
            name: rest[0] if rest else ""
            for name, *rest in (line.split(maxsplit=1) for line in text.splitlines())
        }

    def fail(self, callback: str, error: str, times: int = 1) -> None:
        """Let the next calls of a callback fail: ``fail("handler0.preserve", "ENOMEM")``."""
        refused = self._guest().write(f"{KMOD_DEBUGFS}/fail", f"{callback} -{error} {times}")
        if refused is not None:
            raise AssertionError(f"the module cannot fail {callback} with {error}: {refused}")
