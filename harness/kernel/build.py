# SPDX-License-Identifier: GPL-2.0-only
"""Build a kernel, its suite's modules and selftests; keep what a test run needs in the cache.

One object tree is walked through the positions of a series: make rebuilds what the checkout
changed.  What comes out is copied into a cache entry that is complete in itself, keyed by
everything that can change it.
"""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from harness.base import command
from harness.base.arch import Architecture
from harness.base.errors import BuildError, CommandError, SpecError
from harness.base.spec import CONFIGS_DIR, DEFAULT_CC, ProfileSpec
from harness.base.store import Store, digest
from harness.base.suite import Suite
from harness.kernel.build_log import BuildWarning, WarningLedger, first_error
from harness.kernel.fragment import fragments_of
from harness.kernel.kconfig import KernelConfig, configure
from harness.kernel.kmod import build_module
from harness.kernel.selftests import build_selftests, install_headers
from harness.results.pace import StepCounter, whole_build_steps

log = logging.getLogger(__name__)

BUILD_S = 3 * 3600.0
"""Seconds for a whole build; a cold one takes 6 minutes on 2 CPUs."""

_KIND = "build"
_UNASKED = CONFIGS_DIR / "unasked.mk"
"""What make reads first, so that kbuild passes over what nobody asked for."""

_RECIPE = 2
"""Grows when the same inputs come to mean another result."""

_SHOW_S = 5.0
"""Seconds between two words about how far make is."""

_STEPS = ".harness-steps"
"""The file in an object tree that says how far its first build came; gone once that is done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Toolchain:
    """What compiles: first lines of the tools' version messages.

    :param cc: the compiler's program, which has said *compiler*.
    """

    compiler: str
    linker: str
    ccache: bool
    cc: str = DEFAULT_CC


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelBuild:
    """A kernel in the cache, with everything needed to run tests and decode splats.

    :param directory: the cache entry; nothing in it is ever written to again.
    :param commit: what was built.
    :param tree: the git tree of *commit*.
    :param release: ``uname -r`` of the kernel.
    :param seconds: what the build took when it was made.
    :param cached: whether it came from the cache this time.
    """

    directory: Path
    arch: str
    profile: str
    commit: str
    tree: str
    release: str
    warnings: tuple[BuildWarning, ...]
    seconds: float
    cached: bool
    key: str

    @property
    def image(self) -> Path:
        """The kernel that boots."""
        return self.directory / "kernel"

    @property
    def vmlinux(self) -> Path:
        """The kernel with its symbols and lines."""
        return self.directory / "vmlinux"

    @property
    def config(self) -> Path:
        """The configuration."""
        return self.directory / "config"

    @property
    def symvers(self) -> Path:
        """``Module.symvers``."""
        return self.directory / "Module.symvers"

    @property
    def system_map(self) -> Path:
        """``System.map``."""
        return self.directory / "System.map"

    @property
    def modules(self) -> dict[str, Path]:
        """The suite's modules by name, as they go into the guest: without debug information."""
        return {path.stem: path for path in sorted((self.directory / "modules").glob("*.ko"))}

    @property
    def modules_debug(self) -> dict[str, Path]:
        """The suite's modules by name, with lines, for decoding."""
        return {name: self.directory / "debug" / f"{name}.ko" for name in self.modules}

    @property
    def userspace(self) -> Path:
        """The tree's own selftests, linked statically."""
        return self.directory / "selftests"

    @property
    def gcov(self) -> Path:
        """What gcov needs beside the counters, in the object tree's layout; else not there."""
        return self.directory / "gcov"

    @property
    def uapi(self) -> Path:
        """What the guest's programs need of what ``make headers_install`` installed."""
        return self.directory / "uapi"


def probe_toolchain(cc: str = DEFAULT_CC) -> Toolchain:
    """Ask the tools on this host who they are.

    :param cc: the compiler.
    :raises SpecError: when it is one that was asked for, and is none or not here.
    :raises CommandError: when there is no compiler, linker or make.
    """
    if cc != DEFAULT_CC:
        _look_for_compiler(cc)
    first = [
        command.run([tool, "--version"], timeout_s=30).stdout.partition("\n")[0]
        for tool in (cc, "ld", "make")
    ]
    ccache = command.which("ccache") is not None
    return Toolchain(compiler=first[0], linker=first[1], ccache=ccache, cc=cc)


def _look_for_compiler(cc: str) -> None:
    package = cc if re.fullmatch(r"gcc-\d+", cc) else "that has it, such as gcc-14"
    if command.which(cc) is None:
        raise SpecError(f"there is no compiler {cc!r} here", hint=f"install the package {package}")
    if not command.run([cc, "-dumpmachine"], timeout_s=30, check=False).stdout.strip():
        raise SpecError(f"{cc!r} is no compiler", hint="--cc names one, such as gcc-14")


def ccache_of(toolchain: Toolchain, store: Store) -> Path | None:
    """Return the compiler cache's directory, ``CCACHE_DIR`` or ours; ``None`` without ccache."""
    return Path(os.environ.get("CCACHE_DIR") or store.ccache) if toolchain.ccache else None


def build_key(
    *,
    tree: str,
    arch: Architecture,
    profile: ProfileSpec,
    localversion: str,
    suite: Suite,
    toolchain: Toolchain,
) -> str:
    """Return the cache key of a build: everything that can change what comes out."""
    return digest(
        _RECIPE,
        tree,
        arch.name,
        localversion,
        *fragments_of(profile, arch),
        *profile.make,
        *(part for module in suite.modules for part in (f"module {module.name}", module.source)),
        *(
            part
            for each in suite.selftests
            for part in (each.directory, *each.programs, *each.common)
        ),
        repr(suite.headers),
        toolchain.compiler,
        toolchain.linker,
    )


def cached_build(store: Store, key: str) -> KernelBuild | None:
    """Return a build from the cache, ``None`` when it has to be made.

    :raises CacheError: when the entry is damaged.
    """
    entry = store.get(_KIND, key)
    return _load(entry, key, cached=True) if entry is not None else None


def make_argv(
    tree: Path,
    objdir: Path,
    *,
    arch: Architecture,
    localversion: str,
    jobs: int | None,
    ccache: Path | None,
    cc: str = DEFAULT_CC,
    variables: tuple[str, ...] = (),
) -> list[str | Path]:
    """Return the make command line up to the target; reproducible and quiet.

    :param ccache: see :func:`ccache_of`.
    :param variables: the profile's.
    """
    cache: list[str | Path] = []
    if ccache is not None:
        # Not in this process's environment: builds in other threads have paths of their own.
        # Those below the directory of sources and objects are made relative, so that all hit.
        cache += ["env", f"CCACHE_DIR={ccache}", f"CCACHE_BASEDIR={tree.parent}"]
        cache += ["CCACHE_NOHASHDIR=1", "CCACHE_COMPILERCHECK=content"]
        # What a file includes is taken from the compiler, not from a run of the preprocessor before
        # it: a cold build takes a fifth less.
        cache += ["CCACHE_DEPEND=1"]
    return [
        *cache,
        "make",
        "-C",
        tree,
        f"O={objdir}",
        f"ARCH={arch.kernel}",
        f"CC={cc if ccache is None else f'ccache {cc}'}",
        f"LOCALVERSION={localversion}",
        "KBUILD_BUILD_TIMESTAMP=@0",
        "KBUILD_BUILD_USER=harness",
        "KBUILD_BUILD_HOST=harness",
        "KBUILD_BUILD_VERSION=1",
        f"-j{jobs or os.cpu_count() or 1}",
        "--output-sync=target",
        *variables,
    ]


def build_kernel(
    *,
    worktree: Path,
    objdir: Path,
    commit: str,
    tree: str,
    arch: Architecture,
    profile: ProfileSpec,
    localversion: str,
    suite: Suite,
    toolchain: Toolchain,
    store: Store,
    progress: Callable[[str], None],
    jobs: int | None = None,
) -> KernelBuild:
    """Build what is checked out in *worktree*; the caller holds the lock on both directories.

    :param localversion: what tells this kernel's release from others, such as ``-p07``.
    :param jobs: parallel compilers; ``None`` is one for each CPU.
    :raises BuildError: naming the first error's file and line.
    :raises KconfigError: when the configuration cannot be had.
    """
    started = time.monotonic()
    log_file = objdir.parent / f"{objdir.name}.log"
    ledger = _ledger_of(objdir, log_file, worktree)
    log_file.unlink(missing_ok=True)
    make = make_argv(
        worktree,
        objdir,
        arch=arch,
        localversion=localversion,
        jobs=jobs,
        ccache=ccache_of(toolchain, store),
        cc=toolchain.cc,
        variables=profile.make,
    )
    progress(f"configuring profile {profile.name}")
    config = configure(
        worktree,
        objdir,
        arch=arch,
        fragments=fragments_of(profile, arch),
        make=make,
        log_file=log_file,
        cc=toolchain.cc,
    )
    what = f"building {commit[:12]} ({profile.name}{localversion})"
    counter = _counter_of(objdir, what, profile, store)
    _make(make, [arch.image_target, "modules"], what, counter, objdir, worktree, log_file, progress)
    modules = []
    for module in suite.modules:
        progress(f"{what}: module {module.name}")
        output = objdir / "harness-modules" / module.name
        modules.append(build_module(module, output, make=make, log_file=log_file))
    progress(f"{what}: selftests")
    headers = install_headers(make, objdir, log_file)
    selftests = build_selftests(
        suite.selftests, worktree, objdir, headers, log_file, cc=toolchain.cc
    )
    release = (objdir / "include/config/kernel.release").read_text().strip()
    warnings = ledger.enter(log_file.read_text(errors="replace"), worktree)
    key = build_key(
        tree=tree,
        arch=arch,
        profile=profile,
        localversion=localversion,
        suite=suite,
        toolchain=toolchain,
    )
    facts = {
        "arch": arch.name,
        "profile": profile.name,
        "commit": commit,
        "tree": tree,
        "release": release,
        "warnings": [asdict(warning) for warning in warnings],
        "seconds": time.monotonic() - started,
        "steps": counter.steps if counter.whole else None,
    }
    with store.produce(_KIND, key) as entry:
        _collect(entry, objdir, arch, config, modules, selftests)
        _collect_headers(entry / "uapi", headers, suite.headers)
        (entry / "build.json").write_text(json.dumps(facts, indent=1) + "\n")
    made = store.get(_KIND, key)
    assert made is not None  # noqa: S101 - just made
    return _load(made, key, cached=False)


def _ledger_of(objdir: Path, log_file: Path, worktree: Path) -> WarningLedger:
    """Return the ledger of an object tree, with what the last build said entered."""
    ledger = WarningLedger(objdir / ".harness-warnings.json")
    # A build that was killed has compiled things that the next will not say anything about.
    if log_file.exists() and objdir.exists():
        ledger.enter(log_file.read_text(errors="replace"), worktree)
    return ledger


def _load(entry: Path, key: str, *, cached: bool) -> KernelBuild:
    facts = json.loads((entry / "build.json").read_text())
    warnings = tuple(BuildWarning(**item) for item in facts.pop("warnings"))
    facts.pop("steps", None)  # for harness.results.pace
    return KernelBuild(directory=entry, key=key, cached=cached, warnings=warnings, **facts)


def _counter_of(objdir: Path, what: str, profile: ProfileSpec, store: Store) -> StepCounter:
    if (objdir / "vmlinux").exists():
        return StepCounter(what, total=None)
    stamp = objdir / _STEPS
    before = int(stamp.read_text() or 0) if stamp.exists() else 0
    return StepCounter(what, total=whole_build_steps(store, profile.name), before=before)


def _make(
    make: list[str | Path],
    targets: list[str],
    what: str,
    counter: StepCounter,
    objdir: Path,
    worktree: Path,
    log_file: Path,
    progress: Callable[[str], None],
) -> None:
    """Run make, and say every few seconds how far it is."""
    began = last = time.monotonic()
    progress(what)

    def on_line(line: str) -> None:
        nonlocal last
        counter.line(line)
        now = time.monotonic()
        if now - last > _SHOW_S:
            last = now
            progress(str(counter.progress(now - began)))
            if counter.whole:
                (objdir / _STEPS).write_text(str(counter.steps))

    try:
        command.run(
            [*make, *targets],
            timeout_s=BUILD_S,
            log_file=log_file,
            on_line=on_line,
            env={"LC_ALL": "C", "MAKEFILES": str(_UNASKED)},
        )
        (objdir / _STEPS).unlink(missing_ok=True)
    except CommandError as error:
        if error.returncode is None or error.returncode < 0:
            raise
        raise BuildError(
            f"{what}: {first_error(log_file.read_text(errors='replace'), worktree)}",
            hint="fix the patch at this position, or test another one with --position",
            log=log_file,
        ) from error


def _collect(
    entry: Path,
    objdir: Path,
    arch: Architecture,
    config: KernelConfig,
    modules: Sequence[Path],
    selftests: Path,
) -> None:
    shutil.copyfile(objdir / arch.image, entry / "kernel")
    shutil.copyfile(config.path, entry / "config")
    for name in ("Module.symvers", "System.map"):
        shutil.copyfile(objdir / name, entry / name)
    compress = ["objcopy", "--compress-debug-sections"]
    command.run([*compress, objdir / "vmlinux", entry / "vmlinux"], timeout_s=120)
    for directory in ("modules", "debug"):
        (entry / directory).mkdir()
    for module in modules:
        shutil.copyfile(module, entry / "debug" / module.name)
        stripped = entry / "modules" / module.name
        command.run(["objcopy", "--strip-debug", module, stripped], timeout_s=60)
    shutil.copytree(selftests, entry / "selftests")
    if "\nCONFIG_GCOV_KERNEL=y\n" in config.path.read_text():
        for notes in objdir.rglob("*.gcno"):
            target = entry / "gcov" / notes.relative_to(objdir)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(notes, target)


def _collect_headers(target: Path, headers: Path, wanted: Sequence[str]) -> None:
    """Copy the headers that the guest's programs want; a tree may have no such interface."""
    target.mkdir()
    for name in wanted:
        if (headers / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(headers / name, target / name)
