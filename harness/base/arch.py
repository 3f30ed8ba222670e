# SPDX-License-Identifier: GPL-2.0-only
"""Everything that differs by architecture, as plain data."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from dataclasses import dataclass, field

from harness.base.errors import SpecError


@dataclass(frozen=True, slots=True, kw_only=True)
class Processor:
    """An emulated processor that is the same with every QEMU.

    :param model: QEMU's model that it begins with; one with a version never changes.
    :param added: QEMU's names of the features that it has besides.
    :param removed: those of the model's that it does not have.
    :param flags: all it has, as ``/proc/cpuinfo`` calls them.
    :param options: what else QEMU is told about it.
    """

    model: str
    added: tuple[str, ...]
    removed: tuple[str, ...]
    flags: tuple[str, ...]
    options: tuple[str, ...] = field(default=(), repr=False)

    @property
    def argument(self) -> str:
        """The value of ``-cpu``."""
        features = (*(f"{name}=on" for name in self.added), *(f"{n}=off" for n in self.removed))
        return ",".join((self.model, *self.options, *features))


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """The smallest guest: it counts for a fraction of a second, and proves that it came to the end.

    :param code: what QEMU boots, from a file.
    :param arguments: QEMU's, with ``{}`` for the file's path.
    :param status: what QEMU's exit status must be.
    :param output: what the guest must have written to its serial port.
    """

    code: bytes
    arguments: tuple[str, ...]
    status: int
    output: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """One architecture of guests.

    Its text names templates (:mod:`harness.guest.template`): what no machine that runs depends on
    is left out of it.

    :param name: as ``uname -m`` says it.
    :param kernel: the value of ``ARCH=`` (kernel ``Makefile``).
    :param image: the kernel image, relative to the object tree.
    :param image_target: the make target of the image.
    :param fragment: the configuration fragment in ``kernel-configs/``.
    :param qemu: the QEMU binary.
    :param qemu_package: the Debian package that holds it.
    :param machine: the QEMU machine type, of one version of QEMU, and its options.
    :param qemu_oldest: the oldest QEMU that has it.
    :param processor: the guest's processor under TCG.
    :param cpu_kvm: the ``-cpu`` model under KVM.
    :param kernel_flags: what kernels call a feature that they add to the processor's own.
    :param console: the serial console's name in the guest.
    :param debian: Debian's name of the architecture.
    :param virtio_net: the QEMU network device.
    :param cmdline: kernel parameters that every guest of this architecture gets.
    :param cmdline_tcg: further ones under TCG.
    :param flags_line: the line of ``/proc/cpuinfo`` that lists a processor's features.
    :param processor_lines: what the lines there begin with that tell processors apart.
    :param probe: a guest that shows whether KVM works.
    :param cross: what the names of Debian's tools that make programs for it begin with.
    :param cross_package: the Debian package of its compiler, on other hosts.
    """

    name: str
    kernel: str
    image: str
    image_target: str
    fragment: str
    qemu: str
    qemu_package: str
    machine: str
    qemu_oldest: str
    processor: Processor
    cpu_kvm: str
    kernel_flags: tuple[str, ...]
    console: str
    debian: str
    virtio_net: str
    cmdline: tuple[str, ...] = ()
    cmdline_tcg: tuple[str, ...] = ()
    flags_line: str = field(repr=False)
    processor_lines: tuple[str, ...] = field(repr=False)
    probe: Probe = field(repr=False)
    cross: str = field(repr=False)
    cross_package: str = field(repr=False)

    @property
    def is_host(self) -> bool:
        """Whether it is this host's."""
        return self.name == platform.machine()

    @property
    def prefix(self) -> str:
        """What the names of the tools that make programs for it begin with on this host."""
        return "" if self.is_host else self.cross

    def compiler(self, cc: str) -> str:
        """Return the program that compiles for it here.

        :param cc: what was asked for; a path, or a name with the prefix, is taken as it is.
        """
        return cc if "/" in cc or cc.startswith(self.cross) else self.prefix + cc

    @property
    def gdb(self) -> str:
        """The debugger that knows it on this host."""
        return "gdb" if self.is_host else "gdb-multiarch"

    def why_other_processor(self, cpuinfo: str, cmdline: Sequence[str]) -> str | None:
        """Say how what a kernel found under TCG differs from :attr:`processor`.

        :param cpuinfo: its ``/proc/cpuinfo``.
        :param cmdline: its parameters: they may take features away (``clearcpuid=``, ``nosmap``).
        :returns: ``None`` when it does not.
        """
        wanted = set(self.processor.flags)
        due = wanted - {word.removeprefix("no") for word in cmdline}
        if any(word.startswith("clearcpuid=") for word in cmdline):
            due.clear()
        lines = (line.partition(":") for line in cpuinfo.splitlines())
        each = [set(value.split()) for name, _, value in lines if name.strip() == self.flags_line]
        lacks = sorted({flag for found in each for flag in due - found})
        extra = sorted({flag for found in each for flag in found - wanted} - {*self.kernel_flags})
        said = (
            ("lacks", lacks),
            ("has also", extra),
            ("tells no", () if each else (self.flags_line,)),
        )
        return " and ".join(f"{verb} {' '.join(flags)}" for verb, flags in said if flags) or None


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split())


# Emulated vector instructions are slower than what they replace: hashing for kexec takes half the
# time without them.  So there are none but those of x86-64 itself, and nothing that takes others
# for granted either: code for SHA-NI uses SSSE3 without asking.
_X86_64_TCG = Processor(
    model="qemu64-v1",
    added=("rdrand",),
    removed=("svm",),
    flags=_names(
        "fpu de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat pse36 clflush mmx fxsr "
        "sse sse2 syscall nx lm pni cx16 hypervisor lahf_lm rdrand"
    ),
    # QEMU refuses what it cannot give.
    options=("enforce=on",),
)

# What Linux finds out itself (``arch/x86/include/asm/cpufeatures.h``), and what it takes for
# granted with this model (``init_amd()``); some comes and goes with version and configuration.
_X86_64_KERNEL_FLAGS = _names(
    "constant_tsc up art rep_good nopl xtopology tsc_reliable nonstop_tsc cpuid extd_apicid "
    "nonstop_tsc_s3 tsc_known_freq pti vmmcall 3dnowprefetch"
)

_EXIT_PORT = 0xF4
_EXIT_VALUE = 0x2A
_TURNS = 200_000_000

# The firmware loads a boot sector.
_X86_64_PROBE = Probe(
    code=(
        (
            b"\x66\xb9"
            + _TURNS.to_bytes(4, "little")  # mov ecx, turns
            + b"\x66\x49\x75\xfc"  # dec ecx; jnz back to it
            + bytes([0xBA, _EXIT_PORT, 0x00])  # mov dx, 0xf4
            + bytes([0xB0, _EXIT_VALUE])  # mov al, 0x2a
            + b"\xee"  # out dx, al: isa-debug-exit ends QEMU
            + b"\xf4\xeb\xfd"  # hlt; jmp to it
        ).ljust(510, b"\0")
        + b"\x55\xaa"
    ),
    arguments=(
        *("-drive", "file={},format=raw,if=ide"),
        *("-device", f"isa-debug-exit,iobase={_EXIT_PORT:#x},iosize=4"),
    ),
    # What isa-debug-exit makes of the value (QEMU hw/misc/debugexit.c).
    status=(_EXIT_VALUE << 1) | 1,
)

X86_64 = Architecture(
    name="x86_64",
    kernel="x86",
    image="arch/x86/boot/bzImage",
    image_target="bzImage",
    fragment="x86_64.config",
    qemu="qemu-system-x86_64",
    qemu_package="qemu-system-x86",
    # QEMU drops a machine type six years after its release.
    machine="pc-q35-7.2",
    qemu_oldest="7.2",
    processor=_X86_64_TCG,
    # With five page table levels, ``identify_cpu()`` clears the feature bit for a moment with
    # interrupts on, and all that an interrupt touches then looks wild to KASAN.
    cpu_kvm="host,la57=off",
    kernel_flags=_X86_64_KERNEL_FLAGS,
    console="ttyS0",
    debian="amd64",
    virtio_net="virtio-net-pci",
    # A virtual machine's clocks and interrupts need no proof, and interpreting its ACPI tables
    # is a third of what an instrumented kernel needs to boot; the MP table has all that is needed.
    cmdline=("acpi=off", "tsc=reliable", "no_timer_check"),
    # KVM tells its guests how fast their clocks are.  Under TCG every kernel measures them.  Of
    # the 0.2 s for the local timer half is for its proof, which needs the ACPI timer where SeaBIOS
    # puts it on q35, or as long again; the delay loop of a second CPU takes 0.1 s: 5 GHz are said
    # (at HZ=250), so udelay() may take longer than it has to, never less.
    # Three times the 21 s after which RCU says that it stalls: code is that much slower.
    cmdline_tcg=("pmtmr=0x608", "lpj=20000000", "rcupdate.rcu_cpu_stall_timeout=63"),
    flags_line="flags",
    processor_lines=("model name", "flags", "CPU"),
    probe=_X86_64_PROBE,
    cross="x86_64-linux-gnu-",
    cross_package="gcc-x86-64-linux-gnu",
)

# Pointer authentication, which "max" has, is emulated by a cipher for every call and return.
_AARCH64_TCG = Processor(
    model="cortex-a72",
    added=(),
    removed=(),
    flags=_names("fp asimd aes pmull sha1 sha2 crc32"),
)

# QEMU boots what is no kernel as it is, with the port of the machine's PL011 at 0x09000000.
_AARCH64_PROBE = Probe(
    code=b"".join(
        word.to_bytes(4, "little")
        for word in (
            0x52800001 | (_TURNS & 0xFFFF) << 5,  # movz w1, turns
            0x72A00001 | (_TURNS >> 16) << 5,  # movk w1, turns, lsl 16
            0x71000421,  # subs w1, w1, 1
            0x54FFFFE1,  # b.ne back to it
            0xD2A12002,  # movz x2, 0x0900, lsl 16
            *(0x52800DE3, 0xB9000043),  # movz w3, 'o'; str w3, [x2]
            *(0x52800D63, 0xB9000043),  # movz w3, 'k'; str w3, [x2]
            *(0x52800100, 0x72B08000),  # movz w0, 8; movk w0, 0x8400, lsl 16
            0xD4000002,  # hvc 0: PSCI's SYSTEM_OFF ends QEMU
            0x14000000,  # b to itself
        )
    ),
    arguments=("-kernel", "{}", "-serial", "stdio"),
    status=0,
    output="ok",
)

AARCH64 = Architecture(
    name="aarch64",
    kernel="arm64",
    image="arch/arm64/boot/Image",
    image_target="Image",
    fragment="arm64.config",
    qemu="qemu-system-aarch64",
    qemu_package="qemu-system-arm",
    # The best interrupt controller of the accelerator (GICv3 under TCG), and no ITS: once the
    # tables of a GICv3's message interrupts are in use they cannot be moved, and without EFI a
    # kernel that comes by kexec has lost them ("Booted with LPIs enabled, memory probably
    # corrupted", drivers/irqchip/irq-gic-v3-its.c).
    machine="virt-7.2,gic-version=max,its=off",
    qemu_oldest="7.2",
    processor=_AARCH64_TCG,
    cpu_kvm="host",
    # Of the kernel's own making, not the processor's.
    kernel_flags=_names("evtstrm cpuid"),
    console="ttyAMA0",
    debian="arm64",
    virtio_net="virtio-net-pci",
    # The console's driver comes late in the boot: what a kernel died of before was never seen.
    cmdline=("earlycon",),
    cmdline_tcg=("rcupdate.rcu_cpu_stall_timeout=63",),
    flags_line="Features",
    processor_lines=("Features", "CPU"),
    probe=_AARCH64_PROBE,
    cross="aarch64-linux-gnu-",
    cross_package="gcc-aarch64-linux-gnu",
)

ARCHITECTURES = {arch.name: arch for arch in (X86_64, AARCH64)}


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
