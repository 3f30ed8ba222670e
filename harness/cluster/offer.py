# SPDX-License-Identifier: GPL-2.0-only
"""What a worker has, in the words that Dask's scheduler goes by: *resources*.

A place for a guest or a build is used up by a job.  What merely has to be there, such as KVM or
the same harness, is a resource that never runs out.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from harness.base import command
from harness.base.arch import ARCHITECTURES, Architecture
from harness.base.cpus import usable_cpus
from harness.base.errors import HarnessError
from harness.base.spec import DEFAULT_CC
from harness.base.store import Store
from harness.cluster.version import toolchain_key, version_of
from harness.guest.accel import choose_accel
from harness.kernel.toolchain import probe_toolchain

GUEST = "guest"
BUILD = "build"
KVM = "kvm"

ENDLESS = 1_000_000.0
"""How much there is of what never runs out; a job takes 1."""

GUEST_BYTES = 3 << 30
"""Memory for one place: the largest machine of the profiles, its tests and its template."""

LEAST_FREE_BYTES = 2 << 30
"""With less free on the cache's file system a worker takes no job."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """What a worker says of itself.

    :param guests: how many cells it tests at once; each has one machine at a time, as a rule.
    :param builds: how many kernels it builds at once.
    :param kvm: whether guests run under KVM.
    :param architectures: of the guests that it can run and build kernels for.
    :param version: see :func:`harness.cluster.version.version_of`.
    :param compilers: what each compiler says it is, by
        :func:`harness.cluster.version.toolchain_key`.
    :param lacks: why it does not have what it does not have, by resource.
    """

    guests: int
    builds: int
    kvm: bool
    architectures: tuple[str, ...]
    version: str
    compilers: Mapping[str, str]
    lacks: Mapping[str, str]

    @property
    def resources(self) -> dict[str, float]:
        """It, as Dask takes it."""
        found = {GUEST: float(self.guests), BUILD: float(self.builds)}
        found |= dict.fromkeys((arch_resource(name) for name in self.architectures), ENDLESS)
        found[version_resource(self.version)] = ENDLESS
        found |= dict.fromkeys(map(toolchain_resource, self.compilers), ENDLESS)
        if self.kvm:
            found[KVM] = ENDLESS
        return {name: amount for name, amount in found.items() if amount}

    @property
    def facts(self) -> dict[str, Any]:
        """It, as plain data."""
        return asdict(self)


_GCC = re.compile(r"gcc-\d+")


def arch_resource(name: str) -> str:
    """Return the resource of guests of an architecture."""
    return f"arch:{name}"


def version_resource(version: str) -> str:
    """Return the resource of a version of harness and suite."""
    return f"version:{version}"


def toolchain_resource(key: str) -> str:
    """Return the resource of a compiler and linker."""
    return f"toolchain:{key}"


def look_around(
    suite: Path,
    store: Store,
    *,
    qemu: Path | None = None,
    guests: int | None = None,
    builds: int | None = None,
) -> Offer:
    """Find out what this host can offer; a guest is run to see whether KVM works.

    :param suite: the suite that it has.
    :param qemu: the QEMU program for the host's architecture, ``None`` is the one on ``PATH``.
    :param guests: places for guests; ``None`` is as many as CPUs and memory are enough for.
    :param builds: kernels built at once; ``None`` is one, since a build takes all CPUs.
    """
    lacks: dict[str, str] = {}
    compilers: dict[str, str] = {}
    kvm, architectures = False, []
    for name, arch in ARCHITECTURES.items():
        try:
            own = _compilers(arch)
        except HarnessError as error:
            lacks[BUILD if arch.is_host else arch_resource(name)] = error.message
            continue
        compilers |= own
        program = str(qemu) if qemu is not None and arch.is_host else arch.qemu
        if command.which(program) is None:
            lacks[arch_resource(name)] = f"there is no program {program}"
            continue
        architectures.append(name)
        if arch.is_host:
            kvm = _kvm(name, store, program, lacks)
    return Offer(
        guests=(guests or places()) if architectures else 0,
        builds=(1 if builds is None else builds) if compilers else 0,
        kvm=kvm,
        architectures=tuple(architectures),
        version=version_of(suite),
        compilers=compilers,
        lacks=lacks,
    )


def _compilers(arch: Architecture) -> dict[str, str]:
    """Return the compilers for an architecture: the usual one, and those of one version.

    :raises HarnessError: when there is not even the usual one.
    """
    names = {os.environ.get("CC") or DEFAULT_CC}
    for directory in os.environ.get("PATH", os.defpath).split(os.pathsep):
        names |= {path.name for path in Path(directory).glob("gcc-*") if _GCC.fullmatch(path.name)}
    found = [probe_toolchain(DEFAULT_CC, arch)]
    for name in sorted(names - {DEFAULT_CC}):
        with contextlib.suppress(HarnessError):
            found.append(probe_toolchain(name, arch))
    return {toolchain_key(each): each.compiler for each in found}


def _kvm(name: str, store: Store, qemu: str, lacks: dict[str, str]) -> bool:
    try:
        accel = choose_accel("auto", ARCHITECTURES[name], store, qemu)
    except HarnessError as error:
        lacks[KVM] = error.message
        return False
    if accel.name != KVM:
        lacks[KVM] = accel.reason
    return accel.name == KVM


def places() -> int:
    """Return how many guests this host has CPUs and memory for, at least one."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return max(1, min(usable_cpus(), memory // GUEST_BYTES))


def why_full(store: Store, least_bytes: int = LEAST_FREE_BYTES) -> str | None:
    """Say that the file system of the cache is too full for a job, ``None`` when it is not."""
    free = shutil.disk_usage(store.root).free
    if free >= least_bytes:
        return None
    return f"its disk is full: {free >> 20} MiB free at {store.root}, {least_bytes >> 20} needed"
