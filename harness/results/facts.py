# SPDX-License-Identifier: GPL-2.0-only
"""What was under test, as results carry it: kernel, series, machine and host."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class FixFacts:
    """A fix that the suite knows, and whether the kernel under test has it.

    :param feature: what a tree with it shows.
    :param bug: what is wrong without it, one line.
    :param fixed_in: the first release with it.
    :param missing: subjects of patches of the suite's series that bring it, and are not there.
    """

    feature: str
    bug: str
    fixed_in: str
    has: bool
    missing: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelFacts:
    """The kernel under test.

    :param version: of the tree, such as ``7.0.13``.
    :param label: where the tree came from, for people.
    :param base: the commit before any patch.
    :param public: whether others can know *base*: it is a commit of a git tree, not one that was
        made of an archive here.
    :param commit: what was built.
    :param patchset: the SHA-256 of each patch between the two, as ``git format-patch`` has it.
    :param release: what ``uname -r`` says.
    :param build_seconds: 0 when it came from the cache.
    :param cached: whether it did.
    :param warnings: how many the compiler gave.
    :param new_warnings: those that position 0 does not have; ``None`` when that was never built.
    :param toolchain: the compiler.
    :param config: the file with its configuration.
    :param features: what the tree has of the suite's features.
    :param fixes: the fixes that the suite knows.
    :param no_sandbox: why it was not built in a sandbox; empty when it was, ``None`` when that was
        not noted.
    """

    version: str
    label: str
    base: str
    public: bool
    commit: str
    patchset: tuple[str, ...]
    release: str
    build_seconds: float
    cached: bool
    warnings: int
    new_warnings: tuple[str, ...] | None
    toolchain: str
    config: str
    features: tuple[str, ...]
    fixes: tuple[FixFacts, ...] = ()
    no_sandbox: str | None = None

    @property
    def lacks(self) -> Mapping[str, tuple[FixFacts, ...]]:
        """The fixes that it does not have, by the release that has them first."""
        found: dict[str, list[FixFacts]] = {}
        for fix in self.fixes:
            if not fix.has:
                found.setdefault(fix.fixed_in, []).append(fix)
        return {release: tuple(fixes) for release, fixes in found.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class SupportFacts:
    """A support commit; *why_left_out* is empty when it was applied."""

    subject: str
    reason: str
    applied: bool
    why_left_out: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RecognisedFacts:
    """What a patch was recognised as (:class:`harness.kernel.recognise.Recognised`).

    :param name: ``as`` in JSON.
    :param ambiguous: names of what it might be as well.
    """

    by: str
    name: str = field(metadata={"key": "as"})
    subject: str
    same_change: bool
    ambiguous: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchFacts:
    """A patch of the series.

    :param already: whether the tree had it before.
    :param recognised: as what; ``None`` when it had it not.
    """

    position: int
    subject: str
    commit: str
    already: bool
    recognised: RecognisedFacts | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SuitePatchFacts:
    """A patch of the suite's series: whether the kernel under test *has* it, and by what."""

    number: int
    subject: str
    has: bool
    recognised: RecognisedFacts | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtraFacts:
    """A patch on top of the position, and the file that it is from."""

    subject: str
    file: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOutFacts:
    """Patches that were there as well, and *why* they are no part of the series."""

    what: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesFacts:
    """The series, and how much of it is applied.

    :param name: ``None`` without a series, as are *title* and *origin*.
    :param origin: what was read.
    :param taken: which re-roll, and which of its parts are an older one's; ``None`` without a
        series.
    :param left_out: of what was read.
    :param position: patches applied.
    :param total: patches that can be applied.
    :param extra: further patches on top.
    :param patches: those that can be applied.
    :param suite: the patches of the suite's series.
    """

    name: str | None
    title: str | None
    origin: str | None
    position: int
    total: int
    extra: tuple[ExtraFacts, ...]
    support: tuple[SupportFacts, ...]
    patches: tuple[PatchFacts, ...]
    suite: tuple[SuitePatchFacts, ...]
    taken: str | None = None
    left_out: tuple[LeftOutFacts, ...] = ()

    @property
    def subject(self) -> str:
        """The subject of the last patch applied; ``base`` without one."""
        own = (patch.subject for patch in self.patches if patch.position == self.position)
        return next(own, "base")


@dataclass(frozen=True, slots=True, kw_only=True)
class HostFacts:
    """The host: what ``uname`` says, its processor, CPUs and memory."""

    kernel: str
    cpu: str
    cpus: int
    memory_mib: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineFacts:
    """The machines that the kernels ran in.

    :param arch: the kernel's name of the architecture.
    :param qemu: the version of the program that was used.
    :param accel_reason: why that accelerator, for people.
    :param cmdline: the profile's kernel parameters.
    :param image: the cache key of the root file system.
    """

    arch: str
    qemu: str
    accel_reason: str
    memory_mib: int
    cpus: int
    cmdline: tuple[str, ...]
    image: str
    host: HostFacts


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """What was under test.

    :param builds: position -> cache key, of every kernel that was used.
    """

    kernel: KernelFacts
    series: SeriesFacts
    profile: str
    accel: str
    machine: MachineFacts
    builds: Mapping[str, str]
