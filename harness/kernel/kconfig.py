# SPDX-License-Identifier: GPL-2.0-only
"""Kernel configuration: fragments in, a proven ``.config`` out; ``make allnoconfig`` writes it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.base.arch import Architecture
from harness.base.errors import CommandError, KconfigError
from harness.base.sandbox import OPEN, Sandbox
from harness.base.spec import DEFAULT_CC
from harness.base.store import digest
from harness.base.timeouts import HOST
from harness.kernel.fragment import Request, lost_requests, read_config, requested
from harness.kernel.reasons import why
from harness.kernel.symbols import check_requests, load_kconfig
from harness.kernel.worktree import inside, state_directory


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelConfig:
    """A configuration in which every requested symbol has its value.

    :param path: the ``.config``.
    :param key: digest of its text.
    """

    path: Path
    requests: tuple[Request, ...]
    key: str


def configure(
    tree: Path,
    objdir: Path,
    *,
    arch: Architecture,
    fragments: Sequence[Path],
    make: Sequence[str | Path],
    log_file: Path,
    cc: str = DEFAULT_CC,
    sandbox: Sandbox = OPEN,
) -> KernelConfig:
    """Let make write a configuration of *fragments* and nothing else, and prove every request.

    An unchanged configuration keeps its time, so that nothing is rebuilt for it.

    :param make: the make command line up to the target (:func:`harness.kernel.make.make_argv`).
    :param cc: the compiler that it names.
    :param sandbox: for what the tree runs; it shows the directory of :func:`state_directory`.
    :raises KconfigError: on unknown symbols, wrong types, and symbols that did not survive.
    """
    kconfigs = _kconfig_files(tree)
    requests = requested(fragments, _of_arch(kconfigs, tree, arch))
    state = state_directory(objdir)
    for directory in (objdir, state):
        directory.mkdir(parents=True, exist_ok=True)
    target = objdir / ".config"
    wanted = digest("allnoconfig with requests", *fragments, *kconfigs)
    stamp = state / "config"
    if not target.exists() or not stamp.exists() or stamp.read_text() != wanted:
        check_requests(tree, arch, requests, cc=cc, sandbox=sandbox)
        kept = target.read_bytes() if target.exists() else None
        times = target.stat() if target.exists() else None
        asked = _write_requests(requests, state)
        _make_config(target, asked, make, log_file, sandbox)
        inside(objdir, target)
        if kept is not None and times is not None and target.read_bytes() == kept:
            os.utime(target, ns=(times.st_atime_ns, times.st_mtime_ns))
        stamp.write_text(wanted)
    lost = lost_requests(target, requests)
    if lost:
        stamp.unlink(missing_ok=True)
        raise _lost_error(tree, arch, target, lost, cc, sandbox)
    return KernelConfig(path=target, requests=requests, key=digest(target))


def _kconfig_files(tree: Path) -> list[Path]:
    """Return what decides, with the fragments, how a configuration comes out."""
    return sorted(
        Path(directory, name)
        for directory, _, names in os.walk(tree)
        for name in names
        if name.startswith("Kconfig")
    )


def _of_arch(kconfigs: Iterable[Path], tree: Path, arch: Architecture) -> list[Path]:
    """Leave out the Kconfig files of other architectures."""
    others = tree / "arch"
    own = others / arch.kernel
    return [
        path
        for path in kconfigs
        if path.parent == others or not path.is_relative_to(others) or path.is_relative_to(own)
    ]


def _write_requests(requests: Iterable[Request], state: Path) -> Path:
    # In one go: of two, the first would leave all the defaults that only an expert may change.
    asked = state / "requests"
    asked.write_text("".join(f"CONFIG_{r.symbol}={r.value}\n" for r in requests))
    return asked


def _make_config(
    target: Path,
    asked: Path,
    make: Sequence[str | Path],
    log_file: Path,
    sandbox: Sandbox,
) -> None:
    words = [*make, f"KCONFIG_CONFIG={target}", f"KCONFIG_ALLCONFIG={asked}"]
    try:
        sandbox.run([*words, "allnoconfig"], timeout_s=HOST.compile_s, log_file=log_file)
    except CommandError as error:
        if error.cut_short:
            raise
        raise KconfigError(
            "make could not configure the kernel", hint="the log has its words", log=log_file
        ) from error


def _lost_error(
    tree: Path,
    arch: Architecture,
    config: Path,
    lost: Sequence[Request],
    cc: str,
    sandbox: Sandbox,
) -> KconfigError:
    kconfig = load_kconfig(tree, arch, config, cc=cc, sandbox=sandbox)
    values = read_config(config)
    reasons = [
        f"CONFIG_{request.symbol}={request.value}, asked for in {request.where}, "
        + why(kconfig, request.symbol, request.value, values.get(request.symbol, "n"))
        for request in lost
    ]
    return KconfigError(
        f"{len(lost)} requested symbol{'s' if len(lost) > 1 else ''} did not survive:\n  "
        + "\n  ".join(reasons),
        symbols=tuple(request.symbol for request in lost),
        hint=f"harness config --explain {lost[0].symbol}",
    )
