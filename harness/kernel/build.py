# SPDX-License-Identifier: GPL-2.0-only
"""Build a kernel, its suite's modules and selftests; keep what a test run needs in the cache.

What comes out is copied into a cache entry that is complete in itself, keyed by everything that
can change it.
"""

from __future__ import annotations

import json
import logging
import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from harness.base.arch import Architecture
from harness.base.progress import OnProgress, Progress
from harness.base.sandbox import Sandbox
from harness.base.store import Store
from harness.base.timeouts import HOST
from harness.kernel.build_log import BuildWarning, WarningLedger
from harness.kernel.kconfig import KernelConfig, configure
from harness.kernel.kmod import build_module
from harness.kernel.make import BuildSpec, make_of, run_make, step_counter
from harness.kernel.selftests import build_selftests, install_headers
from harness.kernel.worktree import Trees, inside

log = logging.getLogger(__name__)

_KIND = "build"
_NO_SANDBOX = "no-sandbox"
"""The file of an entry that says why it was not made in a sandbox."""
_RELEASE = "include/config/kernel.release"


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelBuild:
    """A kernel in the cache, with everything needed to run tests and decode splats.

    :param directory: the cache entry; nothing in it is ever written to again.
    :param commit: what was built.
    :param tree: the git tree of *commit*.
    :param release: ``uname -r`` of the kernel.
    :param features: names of the suite's features that its tree has.
    :param seconds: what the build took when it was made.
    :param cached: whether it came from the cache this time.
    :param no_sandbox: why it was not made in a sandbox; empty when it was, ``None`` when that was
        not noted.
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
    features: frozenset[str] = frozenset()
    no_sandbox: str | None = None

    @property
    def image(self) -> Path:
        """The kernel that boots."""
        return self.directory / "kernel"

    @property
    def vmlinux(self) -> Path:
        """The kernel with its symbols and lines."""
        return self.directory / "vmlinux"

    @property
    def notes(self) -> Path:
        """The ELF notes of :attr:`vmlinux`, with its build id; ``/sys/kernel/notes`` of a guest."""
        return self.directory / "notes"

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


def cached_build(store: Store, key: str) -> KernelBuild | None:
    """Return a build from the cache, ``None`` when it has to be made.

    :raises CacheError: when the entry is damaged.
    """
    entry = store.get(_KIND, key)
    return _load(entry, key, cached=True) if entry is not None else None


def configure_kernel(
    spec: BuildSpec,
    trees: Trees,
    make: Sequence[str | Path],
    sandbox: Sandbox,
    *,
    progress: OnProgress,
) -> KernelConfig:
    """Configure what is checked out in *trees*, and prove the configuration.

    :param make: what :func:`harness.kernel.make.make_of` returned, with *sandbox*.
    :raises KconfigError: when the configuration cannot be had.
    """
    progress(Progress(f"configuring profile {spec.profile.name}"))
    return configure(
        trees.sources,
        trees.objects,
        arch=spec.arch,
        fragments=spec.fragments,
        make=make,
        log_file=trees.log_file,
        cc=spec.toolchain.cc,
        sandbox=sandbox,
    )


def build_kernel(
    spec: BuildSpec,
    trees: Trees,
    store: Store,
    *,
    progress: OnProgress,
    jobs: int | None = None,
) -> KernelBuild:
    """Build what is checked out in *trees*; the caller holds the lock on them.

    :param jobs: parallel compilers; ``None`` is one for each CPU.
    :raises BuildError: naming the first error's file and line.
    :raises KconfigError: when the configuration cannot be had.
    """
    started = time.monotonic()
    ledger = _ledger_of(trees)
    trees.log_file.unlink(missing_ok=True)
    make, sandbox = make_of(spec, trees, store, jobs=jobs)
    config = configure_kernel(spec, trees, make, sandbox, progress=progress)
    counter = step_counter(trees, spec.stage, store)
    words = [*make, spec.arch.image_target, "modules"]
    run_make(words, trees, counter, progress=progress, sandbox=sandbox)
    made = _build_the_suites(spec, trees, make, sandbox, progress)
    warnings = ledger.enter(trees.log_file.read_text(errors="replace"), trees.sources)
    facts = {
        "arch": spec.arch.name,
        "profile": spec.profile.name,
        "commit": spec.commit,
        "tree": spec.tree,
        "release": inside(trees.objects, trees.objects / _RELEASE).read_text().strip(),
        "warnings": [asdict(warning) for warning in warnings],
        "seconds": time.monotonic() - started,
        "steps": counter.steps if counter.whole else None,
    }
    with store.produce(_KIND, spec.key) as entry:
        packing = replace(sandbox, writable=(entry,), readable=(trees.objects,))
        _collect(entry, trees, spec.arch, config, packing)
        _collect_the_suites(entry, trees, made, spec, packing)
        (entry / "build.json").write_text(json.dumps(facts, indent=1) + "\n")
        (entry / _NO_SANDBOX).write_text(sandbox.off)
    found = store.get(_KIND, spec.key)
    assert found is not None  # noqa: S101 - just made
    return _load(found, spec.key, cached=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class _SuitesOwn:
    """What was built for the suite besides the kernel, where it was built.

    :param modules: with debug information.
    :param headers: the directory that ``make headers_install`` filled.
    """

    modules: tuple[Path, ...]
    selftests: Path
    headers: Path


def _build_the_suites(
    spec: BuildSpec,
    trees: Trees,
    make: Sequence[str | Path],
    sandbox: Sandbox,
    progress: OnProgress,
) -> _SuitesOwn:
    modules = []
    for module in spec.suite.modules:
        progress(Progress(spec.stage, f"module {module.name}"))
        output = trees.objects / "harness-modules" / module.name
        made = build_module(
            *(module, output),
            make=make,
            macros=spec.macros,
            log_file=trees.log_file,
            sandbox=sandbox,
        )
        modules.append(made)
    progress(Progress(spec.stage, "selftests"))
    headers = install_headers(make, trees.objects, trees.log_file, sandbox)
    cc = spec.toolchain.cc
    selftests = build_selftests(spec.suite.selftests, trees, headers, cc=cc, sandbox=sandbox)
    return _SuitesOwn(modules=tuple(modules), selftests=selftests, headers=headers)


def _ledger_of(trees: Trees) -> WarningLedger:
    """Return the ledger of an object tree, with what the last build said entered."""
    ledger = WarningLedger(trees.state / "warnings.json")
    # A build that was killed has compiled things that the next will not say anything about.
    if trees.log_file.exists() and trees.objects.exists():
        ledger.enter(trees.log_file.read_text(errors="replace"), trees.sources)
    return ledger


def _load(entry: Path, key: str, *, cached: bool) -> KernelBuild:
    facts = json.loads((entry / "build.json").read_text())
    warnings = tuple(BuildWarning(**item) for item in facts.pop("warnings"))
    facts.pop("steps", None)  # for harness.results.pace
    noted = entry / _NO_SANDBOX
    return KernelBuild(
        directory=entry,
        key=key,
        cached=cached,
        warnings=warnings,
        no_sandbox=noted.read_text() if noted.exists() else None,
        **facts,
    )


def _collect(
    entry: Path, trees: Trees, arch: Architecture, config: KernelConfig, packing: Sandbox
) -> None:
    """Copy what the kernel is, and what is needed to decode what it prints.

    :param packing: a sandbox that shows the objects and may write to the *entry*.
    """
    objects = trees.objects
    _copy(trees, objects / arch.image, entry / "kernel")
    _copy(trees, config.path, entry / "config")
    for name in ("Module.symvers", "System.map"):
        _copy(trees, objects / name, entry / name)
    objcopy = f"{arch.prefix}objcopy"
    compress = [objcopy, "--compress-debug-sections"]
    packing.run([*compress, objects / "vmlinux", entry / "vmlinux"], timeout_s=HOST.file_s)
    binary = [objcopy, "-O", "binary", "--only-section=.notes"]
    packing.run([*binary, objects / "vmlinux", entry / "notes"], timeout_s=HOST.file_s)
    if "\nCONFIG_GCOV_KERNEL=y\n" in config.path.read_text():
        for notes in objects.rglob("*.gcno"):
            _copy(trees, notes, entry / "gcov" / notes.relative_to(objects))


def _collect_the_suites(
    entry: Path, trees: Trees, made: _SuitesOwn, spec: BuildSpec, packing: Sandbox
) -> None:
    """Copy what the guest gets besides the kernel; a tree may have no interface of some name."""
    for directory in ("modules", "debug"):
        (entry / directory).mkdir()
    for module in made.modules:
        _copy(trees, module, entry / "debug" / module.name)
        stripped = entry / "modules" / module.name
        objcopy = f"{spec.arch.prefix}objcopy"
        packing.run([objcopy, "--strip-debug", module, stripped], timeout_s=HOST.tool_s)
    (entry / "selftests").mkdir()
    for program in made.selftests.iterdir():
        _copy(trees, program, entry / "selftests" / program.name)
    (entry / "uapi").mkdir()
    for name in spec.suite.headers:
        if (made.headers / name).is_file():
            _copy(trees, made.headers / name, entry / "uapi" / name)


def _copy(trees: Trees, made: Path, target: Path) -> None:
    """Copy a file that the tree has made, with its mode."""
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(inside(trees.objects, made), target)
