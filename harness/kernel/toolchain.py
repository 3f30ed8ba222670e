# SPDX-License-Identifier: GPL-2.0-only
"""The programs that make a kernel, and who they are."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from harness.base import command
from harness.base.errors import SpecError
from harness.base.spec import DEFAULT_CC
from harness.base.store import Store
from harness.base.timeouts import HOST


@dataclass(frozen=True, slots=True, kw_only=True)
class Toolchain:
    """What compiles: first lines of the tools' version messages.

    :param cc: the compiler's program, which has said *compiler*.
    """

    compiler: str
    linker: str
    ccache: bool
    cc: str = DEFAULT_CC


def probe_toolchain(cc: str = DEFAULT_CC) -> Toolchain:
    """Ask the tools on this host who they are.

    :param cc: the compiler.
    :raises SpecError: when it is one that was asked for, and is none or not here.
    :raises CommandError: when there is no compiler, linker or make.
    """
    if cc != DEFAULT_CC:
        _look_for_compiler(cc)
    first = [
        command.run([tool, "--version"], timeout_s=HOST.tool_s).stdout.partition("\n")[0]
        for tool in (cc, "ld", "make")
    ]
    ccache = command.which("ccache") is not None
    return Toolchain(compiler=first[0], linker=first[1], ccache=ccache, cc=cc)


def _look_for_compiler(cc: str) -> None:
    package = cc if re.fullmatch(r"gcc-\d+", cc) else "that has it, such as gcc-14"
    if command.which(cc) is None:
        raise SpecError(f"there is no compiler {cc!r} here", hint=f"install the package {package}")
    if not command.run([cc, "-dumpmachine"], timeout_s=HOST.tool_s, check=False).stdout.strip():
        raise SpecError(f"{cc!r} is no compiler", hint="--cc names one, such as gcc-14")


def ccache_of(toolchain: Toolchain, store: Store) -> Path | None:
    """Return the compiler cache's directory, ``CCACHE_DIR`` or ours; ``None`` without ccache."""
    return Path(os.environ.get("CCACHE_DIR") or store.ccache) if toolchain.ccache else None
