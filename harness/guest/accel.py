# SPDX-License-Identifier: GPL-2.0-only
"""Which accelerator works on this host, and which QEMU there is."""

from __future__ import annotations

import json
import logging
import os
import re
import signal
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from harness.base import command
from harness.base.arch import Architecture
from harness.base.errors import CommandError, MachineError
from harness.base.store import Store, digest
from harness.base.timeouts import HOST

log = logging.getLogger(__name__)

DEVICE = Path("/dev/kvm")
_CONTAINERS = (Path("/run/.containerenv"), Path("/.dockerenv"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Accel:
    """An accelerator that works here.

    :param name: ``"kvm"`` or ``"tcg"``.
    :param reason: why it was chosen.
    """

    name: str
    reason: str


def choose_accel(request: str, arch: Architecture, store: Store, qemu: str) -> Accel:
    """Choose an accelerator by running a guest under it.

    ``/dev/kvm`` may open, create VMs and still be unable to run one, or interpret every
    instruction, which is far slower than TCG.  So the architecture's smallest guest is run under
    KVM, which counts down for a fraction of a second and must then come to its end.
    The answer is kept per boot of the host and build of QEMU.

    :param request: ``"auto"``, ``"kvm"`` (insists) or ``"tcg"``.
    :param qemu: the program.
    :raises MachineError: when KVM was insisted on and does not work, or there is no QEMU.
    """
    if command.which(qemu) is None:
        raise MachineError(
            f"there is no {qemu} on this host",
            hint=f"install Debian's package {arch.qemu_package}; 'harness doctor{_option(arch)}' "
            "checks the rest",
        )
    if request == "tcg":
        return Accel(name="tcg", reason="asked for")
    trouble = _kvm_trouble(arch, qemu, store)
    if trouble is None:
        return Accel(name="kvm", reason="a guest ran under it")
    if request == "kvm":
        raise MachineError(
            f"KVM does not work here: {trouble}",
            hint="--accel auto falls back to TCG, which is slower",
        )
    return Accel(name="tcg", reason=f"KVM does not work here: {trouble}")


def _option(arch: Architecture) -> str:
    return "" if arch.is_host else f" --arch {arch.name}"


def _kvm_trouble(arch: Architecture, qemu: str, store: Store) -> str | None:
    if not arch.is_host:
        return f"this host is no {arch.name}"
    try:
        os.close(os.open(DEVICE, os.O_RDWR))
    except FileNotFoundError:
        return "there is no /dev/kvm"
    except OSError as error:
        return f"/dev/kvm cannot be opened: {error.strerror} ({_who_may_open()})"
    boot_id = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    stat = DEVICE.stat()
    device_facts = (stat.st_rdev, stat.st_ino, stat.st_mode)
    key = digest(
        "kvm", arch.probe.code.hex(), boot_id, arch.machine, qemu_build(qemu), *device_facts
    )

    def make(directory: Path) -> None:
        trouble = _probe_kvm(arch, qemu)
        if command.interrupted():
            raise CommandError("interrupted while KVM was probed", argv=(qemu,))
        (directory / "kvm.json").write_text(json.dumps({"trouble": trouble}))

    try:
        entry = store.get_or_make("accel", key, make, waiting="it probes KVM")
    except _NotThisTime as error:
        return str(error)
    found = json.loads((entry / "kvm.json").read_text())["trouble"]
    return str(found) if found is not None else None


_FROM_OUTSIDE = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
"""What QEMU does not end itself with: when KVM fails it calls ``abort()``."""


class _NotThisTime(Exception):  # noqa: N818 - what it says is no error of KVM
    """The probe did not come to its end, which says nothing of the next one."""


def _who_may_open() -> str:
    """Say what lets a user open the device."""
    # Written by podman and by docker; what access(2) says there is not all that counts.
    if any(path.exists() for path in _CONTAINERS):
        return "containers: --device /dev/kvm, of podman also --group-add keep-groups"
    return "is the user in the group kvm?"


def _probe_kvm(arch: Architecture, qemu: str) -> str | None:
    log.info("probing KVM with the smallest guest")
    started = time.monotonic()
    try:
        done = run_probe(arch, qemu, accel="kvm", cpu="host", timeout_s=HOST.kvm_probe_s)
    except CommandError as error:
        if error.returncode is None and time.monotonic() - started >= HOST.kvm_probe_s:
            return f"the smallest guest did not finish within {HOST.kvm_probe_s:.0f} s"
        raise _NotThisTime(error.message) from error
    if done.returncode == arch.probe.status and arch.probe.output in done.stdout:
        return None
    said = " / ".join(done.stderr.strip().splitlines()[-2:])
    status = done.returncode
    how = f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"
    trouble = f"QEMU {how}" + (f": {said}" if said else "")
    if -status in _FROM_OUTSIDE:
        raise _NotThisTime(trouble)
    return trouble


def run_probe(
    arch: Architecture, qemu: str, *, accel: str, cpu: str, timeout_s: float
) -> command.Completed:
    """Run the architecture's smallest guest to its end.

    :param accel: the value of ``-accel``, and *cpu* that of ``-cpu``.
    :raises CommandError: when QEMU cannot be started, or does not end in time.
    """
    with tempfile.TemporaryDirectory(prefix="harness-kvm-") as name:
        file = Path(name) / "guest"
        file.write_bytes(arch.probe.code.ljust(1 << 20, b"\0"))
        argv = [qemu, "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]
        argv += ["-machine", arch.machine, "-accel", accel, "-cpu", cpu, "-m", "64M"]
        argv += [word.format(file) for word in arch.probe.arguments]
        return command.run(argv, timeout_s=timeout_s, check=False)


def qemu_build(qemu: str) -> str:
    """Return what the program *qemu* says it is: its version, and whose build it is.

    :raises CommandError: when it is not there, or says nothing.
    """
    argv = (qemu, "--version")
    lines = command.run(argv, timeout_s=HOST.tool_s).stdout.splitlines()
    if not lines:
        raise CommandError(f"{qemu} does not say which version it is", argv=argv)
    return lines[0]


def qemu_version(qemu: str) -> str:
    """Return the version of the program *qemu*, such as ``7.2.22``.

    :raises CommandError: when it is not there, or says nothing.
    """
    said = qemu_build(qemu)
    match = re.search(r"version (\S+)", said)
    return match.group(1) if match else said
