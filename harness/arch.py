# SPDX-License-Identifier: GPL-2.0-only
"""Everything that differs by architecture, as plain data."""

from __future__ import annotations

import platform
from dataclasses import dataclass

from harness.errors import SpecError


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """One architecture of guests.

    :param name: as ``uname -m`` says it.
    :param kernel: the value of ``ARCH=`` (kernel ``Makefile``).
    :param image: the kernel image, relative to the object tree.
    :param image_target: the make target of the image.
    :param fragment: the configuration fragment in ``kernel-configs/``.
    :param qemu: the QEMU binary.
    :param qemu_package: the Debian package that holds it.
    :param machine: the QEMU machine type.
    :param cpu_tcg: the ``-cpu`` model under TCG.
    :param cpu_features: added to the ``-cpu`` model, with every accelerator.
    :param console: the serial console's name in the guest.
    :param debian: Debian's name of the architecture.
    :param virtio_net: the QEMU network device.
    :param cmdline: kernel parameters that every guest of this architecture gets.
    :param cmdline_tcg: further ones under TCG.
    """

    name: str
    kernel: str
    image: str
    image_target: str
    fragment: str
    qemu: str
    qemu_package: str
    machine: str
    cpu_tcg: str
    console: str
    debian: str
    virtio_net: str
    cpu_features: str = ""
    cmdline: tuple[str, ...] = ()
    cmdline_tcg: tuple[str, ...] = ()


X86_64 = Architecture(
    name="x86_64",
    kernel="x86",
    image="arch/x86/boot/bzImage",
    image_target="bzImage",
    fragment="x86_64.config",
    qemu="qemu-system-x86_64",
    qemu_package="qemu-system-x86",
    machine="q35",
    # Emulated vector instructions are slower than what they replace: hashing for kexec takes
    # half the time without them.
    cpu_tcg="max,avx=off,avx2=off,ssse3=off,sse4.1=off,sse4.2=off",
    console="ttyS0",
    debian="amd64",
    virtio_net="virtio-net-pci",
    # With five page table levels, ``identify_cpu()`` clears the feature bit for a moment with
    # interrupts on, and all that an interrupt touches then looks wild to KASAN.
    cpu_features=",la57=off",
    # A virtual machine's clocks and interrupts need no proof, and interpreting its ACPI tables
    # is a third of what an instrumented kernel needs to boot; the MP table has all that is needed.
    cmdline=("acpi=off", "tsc=reliable", "no_timer_check"),
    # KVM tells its guests how fast their clocks are.  Under TCG every kernel measures them.  Of
    # the 0.2 s for the local timer half is for its proof, which needs the ACPI timer where SeaBIOS
    # puts it on q35, or as long again; the delay loop of a second CPU takes 0.1 s: 5 GHz are said
    # (at HZ=250), so udelay() may take longer than it has to, never less.
    cmdline_tcg=("pmtmr=0x608", "lpj=20000000"),
)

ARCHITECTURES = {X86_64.name: X86_64}


def architecture(name: str | None = None) -> Architecture:
    """Return the architecture called *name*, the host's for ``None``.

    :raises SpecError: when the harness has no guests of that architecture.
    """
    wanted = name or platform.machine()
    try:
        return ARCHITECTURES[wanted]
    except KeyError:
        known = ", ".join(sorted(ARCHITECTURES))
        raise SpecError(
            f"architecture {wanted!r} is not supported", hint=f"supported: {known}"
        ) from None
