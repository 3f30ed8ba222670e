# SPDX-License-Identifier: GPL-2.0-only
"""What a kernel is made from, and the make that does it.

One object tree is walked through the positions of a series: make rebuilds what the checkout
changed.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.base import command
from harness.base.arch import Architecture
from harness.base.cpus import usable_cpus
from harness.base.errors import BuildError, CommandError
from harness.base.progress import Building, OnProgress, Progress
from harness.base.sandbox import OPEN, Sandbox, open_sandbox
from harness.base.spec import CONFIGS_DIR, ProfileSpec
from harness.base.store import Store, digest
from harness.base.suite import Suite
from harness.base.timeouts import HOST
from harness.kernel.build_log import first_error
from harness.kernel.fragment import fragments_of
from harness.kernel.reasons import explain
from harness.kernel.toolchain import Toolchain, ccache_of
from harness.kernel.worktree import Trees, git_directories
from harness.results.pace import StepCounter, whole_build_steps

_UNASKED = CONFIGS_DIR / "unasked.mk"
"""What make reads first, so that kbuild passes over what nobody asked for."""

_BIN = Path(__file__).parent / "bin"
"""What goes before the host's programs."""

_RECIPE = 4
"""Grows when the same inputs come to mean another result."""

_SHOW_S = 5.0
"""Seconds between two words about how far make is."""

_STEPS = "steps"
"""The file that says how far an object tree's first build came; gone once that is done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildSpec:
    """A kernel that is wanted: everything that can change what comes out.

    :param commit: what is checked out; it is told to people, and its tree is what counts.
    :param tree: the git tree of *commit*.
    :param localversion: what tells this kernel's release from others, such as ``-p07``.
    :param suite: what it wants built besides the kernel.
    :param macros: what its modules find defined.
    :param sandbox: one of :data:`harness.base.sandbox.MODES`; what comes out is the same.
    """

    commit: str
    tree: str
    arch: Architecture
    profile: ProfileSpec
    localversion: str
    suite: Suite
    toolchain: Toolchain
    macros: tuple[str, ...] = ()
    sandbox: str = "auto"

    @property
    def fragments(self) -> tuple[Path, ...]:
        """The configuration's fragments."""
        return tuple(fragments_of(self.profile, self.arch))

    @property
    def stage(self) -> Building:
        """What its build is to people."""
        return Building(
            commit=self.commit, profile=self.profile.name, localversion=self.localversion
        )

    @property
    def key(self) -> str:
        """The cache key of what comes out."""
        suite = self.suite
        return digest(
            _RECIPE,
            self.tree,
            self.arch.name,
            self.localversion,
            *self.fragments,
            *self.profile.make,
            *(part for each in suite.modules for part in (f"module {each.name}", each.source)),
            *(part for each in suite.selftests for part in (each.directory, *each.programs)),
            repr(suite.headers),
            *(f"macro {macro}" for macro in self.macros),
            self.toolchain.compiler,
            self.toolchain.linker,
        )


def make_of(
    spec: BuildSpec, trees: Trees, store: Store, *, jobs: int | None
) -> tuple[list[str | Path], Sandbox]:
    """Return the make command line up to the target, and the sandbox to run it in.

    :param store: has the compiler cache.
    :param jobs: as for :func:`make_argv`.
    :raises SandboxError: when there has to be one, and is none.
    """
    ccache = ccache_of(spec.toolchain, store)
    return make_argv(spec, trees, ccache, jobs=jobs), tree_sandbox(spec, trees, ccache)


def tree_sandbox(spec: BuildSpec, trees: Trees, ccache: Mapping[str, str] | None = None) -> Sandbox:
    """Return the sandbox for what the checked out tree runs.

    It may write to its work tree, its objects and the compiler cache, and there not to what git or
    ccache are told to run.

    :param ccache: what :func:`harness.kernel.toolchain.ccache_of` returned.
    :raises SandboxError: when there has to be one, and is none.
    """
    for directory in (trees.objects, trees.state):
        directory.mkdir(parents=True, exist_ok=True)
    writable, readable = [trees.sources, trees.objects], [_UNASKED, _BIN, trees.state]
    readable += [*git_directories(trees.sources), *(m.source for m in spec.suite.modules)]
    if ccache is not None:
        cache = Path(ccache["CCACHE_DIR"])
        (cache / "ccache.conf").touch()
        writable.append(cache)
        readable.append(cache / "ccache.conf")
    return open_sandbox(
        spec.sandbox, writable=writable, readable=readable, programs=(spec.toolchain.cc,)
    )


def explain_symbol(spec: BuildSpec, trees: Trees, config: Path, symbol: str) -> str:
    """Say why a configuration symbol has its value in a kernel's configuration.

    :raises KconfigError: when the tree knows no such symbol.
    """
    sandbox, cc = tree_sandbox(spec, trees), spec.toolchain.cc
    return explain(trees.sources, spec.arch, config, symbol, cc=cc, sandbox=sandbox)


def make_argv(
    spec: BuildSpec, trees: Trees, ccache: Mapping[str, str] | None, *, jobs: int | None
) -> list[str | Path]:
    """Return the make command line up to the target; reproducible and quiet.

    :param ccache: what :func:`harness.kernel.toolchain.ccache_of` returned.
    :param jobs: parallel compilers; ``None`` is one for each CPU that may be used.
    """
    cache: list[str | Path] = []
    cc, prefix = spec.toolchain.cc, spec.toolchain.prefix
    if ccache is not None:
        # Not in this process's environment: builds in other threads have paths of their own.
        # Those below the directory of sources and objects are made relative, so that all hit.
        cache += ["env", *(f"{name}={value}" for name, value in ccache.items())]
        cache += [f"CCACHE_BASEDIR={trees.sources.parent}"]
        cache += ["CCACHE_NOHASHDIR=1", "CCACHE_COMPILERCHECK=content"]
        # What a file includes is taken from the compiler, not from a run of the preprocessor before
        # it: a cold build takes a fifth less.  What that does not see is in bin/ccache.
        cache += ["CCACHE_DEPEND=1", f"PATH={_BIN}{os.pathsep}{os.environ['PATH']}"]
        cache += [f"HARNESS_CCACHE={command.which('ccache')}"]
    return [
        *cache,
        "make",
        "-C",
        trees.sources,
        f"O={trees.objects}",
        f"ARCH={spec.arch.kernel}",
        *([f"CROSS_COMPILE={prefix}"] if prefix else []),
        f"CC={cc if ccache is None else f'ccache {cc}'}",
        f"LOCALVERSION={spec.localversion}",
        "KBUILD_BUILD_TIMESTAMP=@0",
        "KBUILD_BUILD_USER=harness",
        "KBUILD_BUILD_HOST=harness",
        "KBUILD_BUILD_VERSION=1",
        f"-j{jobs or usable_cpus()}",
        "--output-sync=target",
        *spec.profile.make,
    ]


def step_counter(trees: Trees, stage: Building, store: Store) -> StepCounter:
    """Return what counts the steps of a build; it goes on where one that was killed had come to.

    :param store: its builds of the same profile say how many steps a whole one has.
    """
    if (trees.objects / "vmlinux").exists():
        return StepCounter(stage, total=None)
    stamp = trees.state / _STEPS
    before = int(stamp.read_text() or 0) if stamp.exists() else 0
    return StepCounter(stage, total=whole_build_steps(store, stage.profile), before=before)


def run_make(
    argv: Sequence[str | Path],
    trees: Trees,
    counter: StepCounter,
    *,
    progress: OnProgress,
    sandbox: Sandbox = OPEN,
) -> None:
    """Run make, and say every few seconds how far it is.

    :raises BuildError: naming the first error's file and line.
    """
    began = last = time.monotonic()
    trees.state.mkdir(parents=True, exist_ok=True)
    stamp = trees.state / _STEPS
    progress(Progress(counter.stage))

    def on_line(line: str) -> None:
        nonlocal last
        counter.line(line)
        now = time.monotonic()
        if now - last > _SHOW_S:
            last = now
            progress(counter.progress(now - began))
            if counter.whole:
                stamp.write_text(str(counter.steps))

    try:
        sandbox.run(
            argv,
            timeout_s=HOST.build_s,
            log_file=trees.log_file,
            on_line=on_line,
            env={"LC_ALL": "C", "MAKEFILES": str(_UNASKED)},
        )
        stamp.unlink(missing_ok=True)
    except CommandError as error:
        if error.cut_short:
            raise
        text = trees.log_file.read_text(errors="replace")
        raise BuildError(
            f"{counter.stage}: {first_error(text, trees.sources)}",
            hint="fix the patch at this position, or test another one with --position",
            log=trees.log_file,
        ) from error
