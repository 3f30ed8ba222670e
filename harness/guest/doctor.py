# SPDX-License-Identifier: GPL-2.0-only
"""What this host has and lacks: programs, headers, disk space, an accelerator."""

from __future__ import annotations

import os
import shutil
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from harness.base.arch import ARCHITECTURES, Architecture
from harness.base.command import which
from harness.base.errors import CommandError, SpecError
from harness.base.room import parts, room_bytes
from harness.base.sandbox import PROGRAM, sandbox_trouble
from harness.base.spec import PROJECT_ROOT
from harness.base.store import Store
from harness.guest.accel import choose_accel, qemu_build
from harness.results.facts import HostFacts

PACKAGES = PROJECT_ROOT / "scripts" / "packages.txt"
"""``program package [guests]`` lines; ``scripts/setup`` installs from the same list."""

DISK_MIB = 6 * 1024
"""What a cold run of both profiles leaves in the cache, rounded up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked for.

    :param package: the Debian package that would bring it, or ``None``.
    """

    name: str
    ok: bool
    detail: str
    package: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HostReport:
    """Everything that was looked for.

    :param install: the one command that installs what is missing; ``None`` when nothing is.
    """

    items: tuple[Finding, ...]
    install: str | None

    @property
    def ok(self) -> bool:
        """Whether the harness can work here."""
        return all(item.ok for item in self.items)

    def to_json(self) -> dict[str, Any]:
        """Return the report for machines."""
        return {
            "ok": self.ok,
            "items": [asdict(item) for item in self.items],
            "install": self.install,
        }


def describe_host() -> HostFacts:
    """Return what results say of this host."""
    system = os.uname()
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    models = [line.partition(": ")[2] for line in lines if line.startswith("model name")]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return HostFacts(
        kernel=f"{system.sysname} {system.release} {system.machine}",
        cpu=models[0].strip() if models else system.machine,
        cpus=os.cpu_count() or 1,
        memory_mib=memory >> 20,
    )


def check_host(
    store: Store,
    arch: Architecture,
    qemu: str,
    packages: Path = PACKAGES,
    *,
    sandbox: str = "auto",
) -> HostReport:
    """Look for everything the harness needs.

    :param qemu: the program that is used as the architecture's QEMU.
    :param sandbox: one of :data:`harness.base.sandbox.MODES`.
    :raises SpecError: when the list of packages cannot be read.
    """
    items = [
        _look_for_qemu(program, qemu, package)
        if program == arch.qemu
        else _look_for(program, package)
        for program, package in _read_packages(packages, arch)
    ]
    missing = sorted({item.package for item in items if not item.ok and item.package})
    items += [_disk(store), _cache(store), _sandbox(sandbox)]
    if all(item.ok for item in items if item.name == arch.qemu):
        accel = choose_accel("auto", arch, store, qemu)
        items.append(Finding(name="accelerator", ok=True, detail=f"{accel.name}: {accel.reason}"))
    sudo = "" if os.geteuid() == 0 else "sudo "
    install = f"{sudo}apt-get install --no-install-recommends {' '.join(missing)}"
    return HostReport(items=tuple(items), install=install if missing else None)


def _read_packages(path: Path, arch: Architecture) -> list[tuple[str, str]]:
    """Return the programs and packages that guests of *arch* need on this host."""
    known = {word for name in ARCHITECTURES for word in (name, f"cross-{name}")}
    guests = {arch.name} if arch.is_host else {arch.name, f"cross-{arch.name}"}
    try:
        lines = path.read_text().splitlines()
    except OSError as error:
        raise SpecError(f"cannot read {path}: {error.strerror}") from error
    pairs = []
    for number, line in enumerate(lines, 1):
        words = line.partition("#")[0].split()
        if words and (len(words) < 2 or not set(words[2:]) <= known):
            raise SpecError(f"{path}:{number}: expected 'program package [guests]'")
        if words and set(words[2:]) <= guests:
            pairs.append((words[0], words[1]))
    return pairs


def _look_for(program: str, package: str) -> Finding:
    found: Path | None = Path(program) if program.startswith("/") else which(program)
    if found is None or not found.exists():
        return Finding(name=program, ok=False, detail=f"in package {package}", package=package)
    return Finding(name=program, ok=True, detail=str(found), package=package)


def _look_for_qemu(name: str, qemu: str, package: str) -> Finding:
    """Look for the program *qemu*, and let it say what it is."""
    found = _look_for(qemu, package)
    if found.ok:
        try:
            found = replace(found, detail=f"{found.detail}: {qemu_build(qemu)}")
        except CommandError as error:
            found = replace(found, ok=False, detail=error.message)
    return replace(found, name=name)


def _cache(store: Store) -> Finding:
    holds = sum(part.size_bytes for part in parts(store))
    room = room_bytes(store, holds)
    detail = f"{holds / 2**30:.1f} of {room / 2**30:.1f} GiB in {store.root}"
    if holds > room:
        detail += ": what was not used for longest goes when something is added"
    return Finding(name="cache", ok=True, detail=detail)


def _sandbox(mode: str) -> Finding:
    """Say whether programs run in a sandbox here; only who requires one lacks something."""
    trouble = sandbox_trouble()
    if trouble is None:
        return Finding(name="sandbox", ok=True, detail=f"{PROGRAM} works")
    detail = f"none: {trouble.why}; {trouble.hint}"
    return Finding(name="sandbox", ok=mode != "require", detail=detail)


def _disk(store: Store) -> Finding:
    free = shutil.disk_usage(store.root).free // (1 << 20)
    used = (store.root / "ccache").exists()
    detail = f"{free} MiB free in {store.root}" + (
        "" if free >= DISK_MIB else f", {DISK_MIB} needed"
    )
    return Finding(name="disk space", ok=used or free >= DISK_MIB, detail=detail)
