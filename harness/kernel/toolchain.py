# SPDX-License-Identifier: GPL-2.0-only
"""The programs that make a kernel, and who they are."""

from __future__ import annotations

import logging
import os
import re
import tempfile
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.base import command
from harness.base.arch import Architecture
from harness.base.errors import SpecError
from harness.base.room import ccache_bytes
from harness.base.spec import DEFAULT_CC
from harness.base.store import Store
from harness.base.timeouts import HOST

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Toolchain:
    """What compiles: first lines of the tools' version messages.

    :param cc: the compiler's program, which has said *compiler*.
    :param prefix: what the names of the linker and its like begin with.
    """

    compiler: str
    linker: str
    ccache: bool
    cc: str = DEFAULT_CC
    prefix: str = ""


def probe_toolchain(asked: str = DEFAULT_CC, arch: Architecture | None = None) -> Toolchain:
    """Ask the tools on this host who they are.

    :param asked: the compiler, by the name that it has for the host.
    :param arch: what it compiles for; ``None`` is the host's.
    :raises SpecError: when it is one that was asked for, and is none or not here.
    :raises CommandError: when there is no compiler, linker or make.
    """
    prefix = arch.prefix if arch is not None else ""
    if arch is not None and prefix and command.which(f"{prefix}gcc") is None:
        raise SpecError(
            f"this host has no compiler for {arch.name}: there is no {prefix}gcc",
            hint=f"'scripts/setup --arch {arch.name}' installs what such guests need; the Debian "
            f"package is {arch.cross_package}",
        )
    cc = asked if arch is None else arch.compiler(asked)
    if asked != DEFAULT_CC:
        _look_for_compiler(cc)
    first = [
        command.run([tool, "--version"], timeout_s=HOST.tool_s).stdout.partition("\n")[0]
        for tool in (cc, f"{prefix}ld", "make")
    ]
    ccache = command.which("ccache") is not None
    return Toolchain(compiler=first[0], linker=first[1], ccache=ccache, cc=cc, prefix=prefix)


def _look_for_compiler(cc: str) -> None:
    package = cc if re.fullmatch(r"gcc-\d+", cc) else "that has it, such as gcc-14"
    if command.which(cc) is None:
        raise SpecError(f"there is no compiler {cc!r} here", hint=f"install the package {package}")
    if not command.run([cc, "-dumpmachine"], timeout_s=HOST.tool_s, check=False).stdout.strip():
        raise SpecError(f"{cc!r} is no compiler", hint="--cc names one, such as gcc-14")


def ccache_of(toolchain: Toolchain, store: Store) -> Mapping[str, str] | None:
    """Return the variables that ccache is to be run with; ``None`` when it cannot be used.

    Its directory is ``CCACHE_DIR`` or the cache's, which keeps to its part of the cache's room.
    """
    if not toolchain.ccache:
        return None
    variables = {"CCACHE_DIR": os.environ.get("CCACHE_DIR") or str(store.ccache)}
    if Path(variables["CCACHE_DIR"]) == store.ccache and "CCACHE_MAXSIZE" not in os.environ:
        variables["CCACHE_MAXSIZE"] = f"{ccache_bytes(store) >> 20}Mi"
    trouble = _trouble_of_ccache(toolchain.cc, variables)
    if trouble is None:
        return variables
    log.warning("ccache is not used, builds take longer: %s", trouble)
    return None


def _trouble_of_ccache(cc: str, variables: Mapping[str, str]) -> str | None:
    """Return why ccache cannot compile, in its words: a configuration, a full or read-only disk.

    It is asked twice, since what it cannot read is what it wrote.
    """
    with tempfile.TemporaryDirectory(prefix="harness-ccache-") as name:
        source = Path(name) / "probe.c"
        source.write_text(f"int probe_{uuid.uuid4().hex};\n")
        for _ in range(2):
            done = command.run(
                ["ccache", cc, "-c", source, "-o", source.with_suffix(".o")],
                timeout_s=HOST.tool_s,
                env=variables,
                check=False,
            )
            if done.returncode != 0:
                said = (done.stderr or done.stdout).strip().splitlines()
                return said[-1] if said else f"exit status {done.returncode}"
    return None
