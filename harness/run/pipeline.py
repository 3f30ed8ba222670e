# SPDX-License-Identifier: GPL-2.0-only
"""The stages from a target to a running kernel, each done once.

Command line, pytest plugin and everything that walks through positions use the same stages.
"""

from __future__ import annotations

import contextlib
import functools
import logging
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from harness.base.arch import Architecture, architecture
from harness.base.errors import SpecError
from harness.base.progress import OnProgress, Progress
from harness.base.room import make_room
from harness.base.spec import DEFAULT_CC, MachineSpec, ProfileSpec, Target
from harness.base.store import Store
from harness.base.suite import Suite, load_suite
from harness.base.timeouts import guest_scale
from harness.guest.accel import Accel, choose_accel
from harness.guest.archive import KERNEL_PATH, SELFTESTS_PATH, Initrd, payload_archive
from harness.guest.epoch import Saved
from harness.guest.image import Image, ImageContent, build_image
from harness.guest.keys import GuestKeys, guest_keys
from harness.guest.machine import GuestSetup, Machine
from harness.guest.module import MODULES_PATH
from harness.guest.qemu_argv import Memory
from harness.guest.template import Templates
from harness.kernel.apply import AppliedSeries, Position, apply_extra, apply_series
from harness.kernel.build import KernelBuild, build_kernel, cached_build, configure_kernel
from harness.kernel.build_log import new_warnings
from harness.kernel.fragment import fragments_of
from harness.kernel.kconfig import KernelConfig
from harness.kernel.known import check_names
from harness.kernel.make import BuildSpec, explain_symbol, make_of
from harness.kernel.recognise import normalised
from harness.kernel.series import Series, read_series
from harness.kernel.source import SourceTree, open_source
from harness.kernel.toolchain import Toolchain, probe_toolchain
from harness.kernel.worktree import Trees, object_tree, work_tree
from harness.run.features import Features
from harness.run.meanwhile import meanwhile, needs_of_machines
from harness.run.presence import Presence, is_version_of, presences

log = logging.getLogger(__name__)


class Pipeline:
    """The stages for one target.

    Nothing is done before it is asked for, and nothing twice.

    :param progress: told what is being done.
    """

    def __init__(self, target: Target, store: Store, progress: OnProgress) -> None:
        self.target = target
        self.store = store
        self._progress = progress
        store.announce = progress
        self._builds: dict[int, KernelBuild] = {}
        self._images: dict[str, Image] = {}
        self._templates: dict[tuple[str, tuple[str, ...], Store | None], Templates] = {}

    # -- what is tested ----------------------------------------------------------------------

    @cached_property
    def arch(self) -> Architecture:
        """The guest's architecture."""
        return architecture(self.target.arch)

    @cached_property
    def suite(self) -> Suite:
        """What the series is about."""
        return load_suite(self.target.suite)

    @cached_property
    def profile(self) -> ProfileSpec:
        """The profile."""
        return self.suite.profile(self.target.profile)

    @cached_property
    def source(self) -> SourceTree:
        """The kernel tree, imported."""
        return open_source(self.target.kernel, self.store, progress=self._progress)

    @cached_property
    def series(self) -> Series | None:
        """The series, read; ``None`` when the tree is tested as it is."""
        if self.target.series is None:
            return None
        return read_series(self.target.series, repo=self.target.kernel.path)

    @cached_property
    def extra(self) -> tuple[Series, ...]:
        """The patches on top of the target's position, read."""
        return tuple(read_series(str(path), whole=False) for path in self.target.extra)

    @cached_property
    def applied(self) -> AppliedSeries:
        """The series on the tree, one commit a patch."""
        self.check_request()
        self.features.check_needs()
        series, support = self.series, self.suite.support
        return apply_series(
            self.source, series, self.store, support=support, progress=self._progress
        )

    def check_request(self) -> None:
        """Say what is wrong with the request before minutes are spent on the tree.

        :raises InputError: when a series, a profile or a compiler is not there.
        """
        _, _, _ = self.series, self.extra, self.profile
        if self.target.cc != DEFAULT_CC or self.arch.prefix:
            _ = self.toolchain

    @cached_property
    def toolchain(self) -> Toolchain:
        """What compiles."""
        return probe_toolchain(self.target.cc, self.arch)

    @cached_property
    def accel(self) -> Accel:
        """The accelerator that works here."""
        return choose_accel(self.target.accel, self.arch, self.store, self.qemu)

    @property
    def qemu(self) -> str:
        """The QEMU program."""
        return str(self.target.qemu or self.arch.qemu)

    @cached_property
    def keys(self) -> GuestKeys:
        """The guests' SSH keys."""
        return guest_keys(self.store)

    def position(self, number: int | None = None) -> Position:
        """Return a position; ``None`` is the target's, which has the extra patches on top.

        :raises SeriesError: when the series has no such position, or a patch does not apply.
        """
        if number is None or number == self._own.number:
            return self._with_extra
        return self.applied.position(number)

    @cached_property
    def _own(self) -> Position:
        return self.applied.position(self.target.position)

    @cached_property
    def _with_extra(self) -> Position:
        if not self.extra:
            return self._own
        return apply_extra(self.source, self._own, self.extra, self.store, progress=self._progress)

    def has_patch(self, which: int | str) -> bool:
        """Return whether the kernel under test has a patch of the suite's series.

        :mod:`harness.kernel.recognise` says how it is known, whatever number it has there.

        :param which: its number in the suite's own series, or its subject.
        :raises SpecError: when that series has no such patch.
        """
        series = self._suite_series
        for patch in series.patches if series is not None else ():
            named = isinstance(which, str) and normalised(which) == normalised(patch.subject)
            if named or which == patch.number:
                return self.features.base_has_the_series or self.presences[patch.number].has
        raise SpecError(f"the series of the suite {self.suite.name} has no patch {which!r}")

    @cached_property
    def presences(self) -> Mapping[int, Presence]:
        """Which patches of the suite's series the kernel under test has, by number."""
        if (series := self._suite_series) is None:
            return {}
        return presences(series, self.applied, self.extra, self._own.number, self.store)

    @cached_property
    def features(self) -> Features:
        """What the tree has of the suite's features."""
        return Features(self.source, self.suite)

    @cached_property
    def is_suites(self) -> bool:
        """Whether the series under test is the suite's, a re-roll, or the suite has none."""
        own = self._suite_series
        if own is None or self.target.series == self.suite.series:
            return True
        return is_version_of(own, self.series)

    @cached_property
    def _suite_series(self) -> Series | None:
        """The suite's own series; without one, what is under test has the word."""
        if self.suite.series is None:
            return self.series
        return read_series(self.suite.series, repo=self.target.kernel.path)

    # -- building ----------------------------------------------------------------------------

    def build(self, position: int | None = None) -> KernelBuild:
        """Return the kernel at a position (``None`` is the target's), from the cache if it can.

        :raises BuildError: when it does not compile.
        :raises KconfigError: when it cannot be configured as the profile asks.
        """
        at = self.position(position)
        if at.number not in self._builds:
            build = self._build(at)
            self._builds[at.number] = replace(build, features=self.features.of(at.commit))
        return self._builds[at.number]

    @property
    def builds(self) -> Mapping[int, KernelBuild]:
        """The kernels that were built or taken from the cache so far, by position."""
        return self._builds

    def _localversion(self, at: Position) -> str:
        suffix = "" if self.profile.name == "default" else f"-{self.profile.name}"
        # A kernel with extra patches does not pass for the position that it is made from.
        extra = "" if at.commit == self.applied.positions[at.number].commit else "x"
        return f"-p{at.number:02}{extra}{suffix}"

    def build_key(self, position: int | None = None) -> str:
        """Return the cache key of the kernel at a position (``None`` is the target's)."""
        return self._build_spec(self.position(position)).key

    def _build_spec(self, at: Position) -> BuildSpec:
        return BuildSpec(
            commit=at.commit,
            tree=at.tree,
            arch=self.arch,
            profile=self.profile,
            localversion=self._localversion(at),
            suite=self.suite,
            toolchain=self.toolchain,
            macros=self.features.macros(at.commit),
            sandbox=self.target.sandbox,
        )

    def _build(self, at: Position) -> KernelBuild:
        spec = self._build_spec(at)
        if (found := cached_build(self.store, spec.key)) is not None:
            return found
        with self._trees(at) as trees:
            found = cached_build(self.store, spec.key)
            if found is not None:
                return found
            host = (self.arch, self.qemu, self.target.accel)
            ahead = needs_of_machines(self.suite.image, Store(self.store.root), *host)
            with meanwhile(*ahead) as others:
                build = build_kernel(
                    spec, trees, self.store, progress=self._progress, jobs=self.target.jobs
                )
                if others.is_alive():
                    self._progress(Progress("image", "fetching packages"))
        make_room(self.store)
        return build

    def new_warnings(self) -> tuple[str, ...] | None:
        """Return the compiler warnings that the patches bring.

        They are compared with position 0, with extra patches with the position without them;
        ``None`` when that was never built.
        """
        base = self._own if self.extra else self.applied.positions[0]
        if base.commit == self.position().commit:
            return ()
        found = cached_build(self.store, self._build_spec(base).key)
        if found is None:
            return None
        return tuple(str(w) for w in new_warnings(found.warnings, self.build().warnings))

    @contextlib.contextmanager
    def _trees(self, at: Position) -> Iterator[Trees]:
        """Have a position checked out where nobody else builds, in the block."""
        # Suites configure the same profile differently.
        check_names(fragments_of(self.profile, self.arch), self.source, self.store)
        kind, cc = f"{self.suite.name}-{self.profile.name}", self.toolchain.cc
        with work_tree(self.source, at.commit, self.store, profile=kind, cc=cc) as tree:
            yield Trees(sources=tree, objects=object_tree(tree, kind, cc))

    def configure(self) -> KernelConfig:
        """Configure the target's position, and prove the configuration.

        :raises KconfigError: when a requested symbol did not survive.
        """
        with self._trees(self.position()) as trees:
            return self._configure(trees)

    def explain(self, symbol: str) -> str:
        """Say why a configuration symbol has its value in the target's configuration."""
        with self._trees(self.position()) as trees:
            config = self._configure(trees).path
            return explain_symbol(self._build_spec(self.position()), trees, config, symbol)

    def _configure(self, trees: Trees) -> KernelConfig:
        spec = self._build_spec(self.position())
        make, sandbox = make_of(spec, trees, self.store, jobs=self.target.jobs)
        return configure_kernel(spec, trees, make, sandbox, progress=self._progress)

    def image(self, build: KernelBuild) -> Image:
        """Return the guest's root file system for *build*."""
        if build.key not in self._images:
            content = ImageContent(
                recipe=self.suite.image,
                verbs=self.suite.verbs,
                headers=self.suite.headers,
                arch=self.arch,
                uapi=build.uapi,
                cc=self.toolchain.cc,
                compiler=self.toolchain.compiler,
                sandbox=self.target.sandbox,
            )
            self._images[build.key] = build_image(content, self.store, progress=self._progress)
        return self._images[build.key]

    # -- running -----------------------------------------------------------------------------

    def check_machine(self) -> None:
        """Say before minutes are spent on a build that this host cannot run what comes out.

        :raises MachineError: when there is no QEMU, or not the accelerator that was asked for.
        """
        # Bad input is named first, whatever the host lacks.
        _ = self.position(), self.accel

    def initrd(self, build: KernelBuild) -> Initrd:
        """Return the archives that make the initrd of *build*."""
        programs = {f"{SELFTESTS_PATH}/{path.name}": path for path in build.userspace.iterdir()}
        return Initrd(
            shared=(self.image(build).initrd, self.keys.archive),
            own=self._archive({f"{MODULES_PATH}/{p.name}": p for p in build.modules.values()}),
            first=self._archive({KERNEL_PATH: build.image, **programs}),
        )

    def _archive(self, files: dict[str, Path]) -> Path:
        return payload_archive({path.lstrip("/"): file for path, file in files.items()}, self.store)

    def machine(
        self,
        build: KernelBuild,
        log_dir: Path,
        *,
        cmdline: tuple[str, ...] = (),
        gdb: bool = False,
        memory: Memory | None = None,
        saved: Saved | None = None,
    ) -> Machine:
        """Return a machine for *build*, not started.

        :param cmdline: kernel parameters after the profile's.
        :param memory: see :class:`harness.guest.machine.Machine`, as for *saved*.
        """
        return Machine(
            spec=self._machine_spec(build, cmdline),
            build=build,
            setup=GuestSetup(
                keys=self.keys,
                initrd_of=self.initrd,
                preconditions=self.suite.preconditions,
            ),
            log_dir=log_dir,
            gdb=gdb,
            memory=memory,
            saved=saved,
        )

    def templates(
        self, build: KernelBuild, *, cmdline: tuple[str, ...] = (), store: Store | None = None
    ) -> Templates:
        """Return the templates of the machines that :meth:`machine` makes of *build*.

        :param store: where they are kept; ``None`` is the pipeline's.
        """
        at = (build.key, cmdline, store)
        if at not in self._templates:
            make = functools.partial(self.machine, build, cmdline=cmdline)
            made = make, self._machine_spec(build, cmdline), build.key, self.suite.preconditions
            self._templates[at] = Templates(store or self.store, *made)
        return self._templates[at]

    def _machine_spec(self, build: KernelBuild, cmdline: tuple[str, ...]) -> MachineSpec:
        return MachineSpec(
            arch=build.arch,
            qemu=self.qemu,
            kernel=build.image,
            initrds=self.initrd(build).parts,
            # The initrd stays, for the next kernel: see harness/guest/kexec.py.
            cmdline=("retain_initrd", *self.profile.cmdline, *cmdline),
            memory_mib=self.profile.memory_mib,
            cpus=self.profile.cpus,
            accel=self.accel.name,
            timeout_scale=guest_scale(self.accel.name, self.profile.timeout_scale),
        )
