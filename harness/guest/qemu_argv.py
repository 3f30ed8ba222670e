# SPDX-License-Identifier: GPL-2.0-only
"""QEMU's arguments for a machine."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from harness.base.arch import architecture
from harness.base.spec import MachineSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """A file that is the guest's memory.

    :param private: what the guest writes is its own, and the file stays as it is; else the file
        is what the guest wrote.
    :param state: the devices' state that belongs to the memory, to go on from; ``None`` boots.
    """

    file: Path
    private: bool = False
    state: Path | None = None


def qemu_argv(
    spec: MachineSpec,
    *,
    initrd: Path | None,
    console: Path,
    qmp_fd: int,
    gdb_socket: Path | None = None,
    memory: Memory | None = None,
) -> tuple[str, ...]:
    """Return QEMU's command line for *spec*; pure.

    :param initrd: all of ``spec.initrds`` in one file; ``None`` for a machine that goes on, which
        has its kernel in memory.
    :param console: named pipes for the serial port: this with ``.in`` and ``.out`` behind it.
    :param qmp_fd: a connected socket that QEMU inherits for QMP.
    :param gdb_socket: where a gdb stub listens; ``None`` for none.
    :param memory: ``None`` for memory that nobody else sees and that ends with QEMU.
    """
    arch = architecture(spec.arch)
    kvm = spec.accel == "kvm"
    cpu = arch.cpu_kvm if kvm else arch.processor.argument
    accel = "kvm" if kvm else "tcg,thread=multi"
    argv = [spec.qemu, "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]
    backend = ",memory-backend=ram" if memory is not None else ""
    argv += ["-machine", arch.machine + backend, "-accel", accel, "-cpu", cpu]
    # The firmware's MP table lists sockets, not cores.
    argv += [
        "-m",
        f"{spec.memory_mib}M",
        "-smp",
        f"{spec.cpus},sockets={spec.cpus},cores=1,threads=1",
    ]
    if memory is not None:
        share = "off" if memory.private else "on"
        backing = f"size={spec.memory_mib}M,mem-path={_value(memory.file)},share={share}"
        argv += ["-object", f"memory-backend-file,id=ram,{backing}"]
        if memory.state is not None:
            argv += ["-incoming", "defer"]
    if initrd is not None:
        argv += ["-kernel", str(spec.kernel), "-initrd", str(initrd)]
        words = [*arch.cmdline, *(arch.cmdline_tcg if spec.accel == "tcg" else ()), *spec.cmdline]
        argv += ["-append", " ".join([f"console={arch.console}", *words])]
    argv += ["-chardev", f"pipe,id=console,path={_value(console)}", "-serial", "chardev:console"]
    argv += ["-chardev", f"socket,id=qmp,fd={qmp_fd}", "-qmp", "chardev:qmp"]
    # Port 0 lets the host choose; QEMU says which it was.
    argv += ["-netdev", "user,id=net,hostfwd=tcp:127.0.0.1:0-:22"]
    # A clone is where its template was: the guest has nothing to announce.
    argv += ["-device", f"{arch.virtio_net},netdev=net,romfile=,guest_announce=off"]
    argv += ["-device", "virtio-rng-pci"]
    if gdb_socket is not None:
        argv += ["-chardev", f"socket,id=gdb,path={_value(gdb_socket)},server=on,wait=off"]
        argv += ["-gdb", "chardev:gdb"]
    return (*argv, *spec.extra_args)


def _value(path: Path) -> str:
    """Return a path as QEMU takes it among options that commas separate."""
    return str(path).replace(",", ",,")
