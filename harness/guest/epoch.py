# SPDX-License-Identifier: GPL-2.0-only
"""One kernel's life in a machine, and what is known of a machine whose life was interrupted."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from harness.kernel.build import KernelBuild


@dataclass(frozen=True, slots=True, kw_only=True)
class Epoch:
    """One kernel's life in a machine.

    :param number: 0 for the kernel that QEMU booted, 1 after the first kexec.
    :param boot_id: ``/proc/sys/kernel/random/boot_id``.
    :param console_mark: where on the console this kernel's output begins.
    """

    number: int
    build: KernelBuild
    boot_id: str
    release: str
    console_mark: int

    @property
    def facts(self) -> dict[str, Any]:
        """Everything but the build, as JSON can hold it."""
        names = ("number", "boot_id", "release", "console_mark")
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """What has to be known of a machine that was saved, to go on from there.

    :param epochs: the kernels it ran, all of one build: :attr:`Epoch.facts`.
    :param console: what it printed.
    :param modules: names of modules that may be loaded.
    """

    epochs: tuple[dict[str, Any], ...]
    console: str
    modules: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """Return what makes it again."""
        return asdict(self)
