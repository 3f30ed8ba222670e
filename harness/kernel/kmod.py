# SPDX-License-Identifier: GPL-2.0-only
"""Build an out-of-tree module against a configured and built kernel."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from harness.base.errors import BuildError, CommandError
from harness.base.sandbox import OPEN, Sandbox
from harness.base.suite import ModuleSpec
from harness.base.timeouts import HOST


def build_module(
    module: ModuleSpec,
    output: Path,
    *,
    make: Sequence[str | Path],
    macros: Sequence[str] = (),
    log_file: Path,
    sandbox: Sandbox = OPEN,
) -> Path:
    """Build a module; nothing is written to its source (``MO=``, Linux 6.13).

    :param make: the make command line of the kernel that it is for.
    :param macros: what its sources find defined.
    :returns: the ``.ko`` with its debug information.
    :raises BuildError: when it does not compile or modpost refuses it.
    """
    # What the tree has run may have made links of the directories above it.
    sandbox.run(["mkdir", "-p", output], timeout_s=HOST.tool_s)
    flags = [f"KCFLAGS={' '.join(f'-D{macro}' for macro in macros)}"] if macros else []
    try:
        sandbox.run(
            [*make, *flags, f"M={module.source}", f"MO={output}", "modules"],
            timeout_s=HOST.compile_s,
            log_file=log_file,
        )
    except CommandError as error:
        if error.cut_short:
            raise
        text = log_file.read_text(errors="replace")
        said = [line for line in text.splitlines() if "error:" in line or "ERROR:" in line]
        raise BuildError(
            f"the module {module.name} does not build: {said[0] if said else 'see the log'}",
            hint="'undefined!' means that the kernel does not export a function: the support "
            "commit that does so was left out",
            log=log_file,
        ) from error
    made = output / f"{module.name}.ko"
    if not made.is_file():
        raise BuildError(
            f"{module.source} makes no {made.name}", hint="its Kbuild names another obj-m"
        )
    return made
