# SPDX-License-Identifier: GPL-2.0-only
"""A kernel module in a running kernel: loading it, unloading it, who holds it."""

from __future__ import annotations

from collections.abc import Callable

from harness.guest.connection import Guest

MODULES_PATH = "/lib/harness"
"""Where a guest has the modules of its suite."""


class KernelModule:
    """A module in whatever kernel a machine runs.

    :param guest: returns the connection to that kernel.
    :param name: as ``/proc/modules`` has it.
    :param path: the ``.ko`` in the guest; ``None`` is where the suite's modules are.
    """

    def __init__(self, guest: Callable[[], Guest], name: str, path: str | None = None) -> None:
        self.guest = guest
        self.name = name
        self.path = path or f"{MODULES_PATH}/{name}.ko"
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
        error = self.try_load(**parameters)
        if error is not None:
            raise AssertionError(f"insmod {self.path}: {error}")

    def try_load(self, **parameters: object) -> str | None:
        """Load the module; return the errno name when the kernel refuses, else ``None``."""
        self.may_be_loaded = True
        return self.guest().insmod(self.path, **parameters)

    def unload(self, *, force: bool = False) -> str | None:
        """Unload the module; return the errno name when the kernel refuses, else ``None``."""
        return self.guest().rmmod(self.name, force=force)

    def let_go(self) -> None:
        """Give up what keeps the module from being unloaded; a module of its own says how."""

    def refcount(self) -> int | None:
        """Return the module's reference count, ``None`` when it is not loaded."""
        return self.guest().refcount(self.name)
