# SPDX-License-Identifier: GPL-2.0-only
"""Build a kernel tree's own selftests, against the headers of that tree."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from harness.base.errors import BuildError, CommandError
from harness.base.sandbox import OPEN, Sandbox
from harness.base.suite import SelftestSpec
from harness.base.timeouts import HOST
from harness.kernel.build_log import first_error
from harness.kernel.worktree import Trees

_ROOM = "tools/testing/selftests"


def install_headers(
    make: Sequence[str | Path], objdir: Path, log_file: Path, sandbox: Sandbox = OPEN
) -> Path:
    """Install the headers of the kernel's interfaces; return the directory to include from.

    :param make: the make command line of the kernel.
    :raises BuildError: when make fails.
    """
    target = objdir / "harness-headers"
    words = [*make, "-s", "headers_install", f"INSTALL_HDR_PATH={target}"]
    _compile(words, "headers_install", log_file, sandbox)
    return target / "include"


def build_selftests(
    specs: Sequence[SelftestSpec],
    trees: Trees,
    headers: Path,
    *,
    cc: str,
    sandbox: Sandbox = OPEN,
) -> Path:
    """Build selftests statically, with the tree's own makefiles; what it does not have is left out.

    :param cc: the compiler.
    :param headers: what :func:`install_headers` returned.
    :returns: the directory they are in.
    :raises BuildError: naming the first error's file and line.
    """
    log_file = trees.log_file
    output = trees.objects / "harness-selftests"
    _empty(output, sandbox)
    for spec in specs:
        source = trees.sources / _ROOM / spec.directory
        if not (source / "Makefile").is_file():
            continue
        objects = trees.objects / "harness-selftests-objects" / spec.directory
        _empty(objects, sandbox)
        make = _make_argv(source, objects, trees.sources, headers, cc)
        for name in spec.programs:
            if not (source / f"{name}.c").is_file():
                continue
            with log_file.open("a") as stream:
                stream.write(f"  HOSTCC  {output.name}/{name}\n")
            _compile([*make, objects / name], f"selftest {name}", log_file, sandbox)
            sandbox.run(["cp", objects / name, output / name], timeout_s=HOST.tool_s)
    return output


def _make_argv(
    source: Path, objects: Path, sources: Path, headers: Path, cc: str
) -> list[str | Path]:
    """Return the make command line up to the target; what makefiles call their own stays theirs.

    Some of their objects land beside the sources: checking the next commit out sweeps them away.
    """
    return [
        "make",
        "-C",
        source,
        f"OUTPUT={objects}",
        f"CC={cc}",
        f"KHDR_INCLUDES=-isystem {headers}",
        f"USERCFLAGS=-ffile-prefix-map={sources}=.",
        "USERLDFLAGS=-static -s -Wl,--build-id=none",
    ]


def _empty(directory: Path, sandbox: Sandbox) -> None:
    """Make an empty directory; what a tree has run may have made links of those above it."""
    sandbox.run(["rm", "-rf", directory], timeout_s=HOST.file_s)
    sandbox.run(["mkdir", "-p", directory], timeout_s=HOST.tool_s)


def _compile(words: list[str | Path], what: str, log_file: Path, sandbox: Sandbox) -> None:
    try:
        sandbox.run(words, timeout_s=HOST.build_s, log_file=log_file)
    except CommandError as error:
        if error.cut_short:
            raise
        text = log_file.read_text(errors="replace")
        raise BuildError(f"{what}: {first_error(text)}", log=log_file) from error
