# SPDX-License-Identifier: GPL-2.0-only
"""Build a kernel tree's own selftests, against the headers of that tree."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from harness.base import command
from harness.base.errors import BuildError, CommandError
from harness.base.suite import SelftestSpec
from harness.base.timeouts import HOST
from harness.kernel.build_log import first_error
from harness.kernel.worktree import Trees

_ROOM = "tools/testing/selftests"


def install_headers(make: Sequence[str | Path], objdir: Path, log_file: Path) -> Path:
    """Install the headers of the kernel's interfaces; return the directory to include from.

    :param make: the make command line of the kernel.
    :raises BuildError: when make fails.
    """
    target = objdir / "harness-headers"
    words = [*make, "-s", "headers_install", f"INSTALL_HDR_PATH={target}"]
    _compile(words, "headers_install", log_file)
    return target / "include"


def build_selftests(specs: Sequence[SelftestSpec], trees: Trees, headers: Path, *, cc: str) -> Path:
    """Build selftests statically; a tree without them has none.

    :param cc: the compiler.
    :param headers: what :func:`install_headers` returned.
    :returns: the directory they are in.
    :raises BuildError: naming the first error's file and line.
    """
    sources, log_file = trees.sources, trees.log_file
    output = trees.objects / "harness-selftests"
    shutil.rmtree(output, ignore_errors=True)
    output.mkdir()
    # Objects of these tests land beside their sources unless built like this; see its Makefile.
    flags: list[str | Path] = ["-static", "-O2", "-s", "-Wno-unused-function", "-D_GNU_SOURCE="]
    flags += [f"-I{headers}", f"-I{sources / _ROOM}"]
    flags += [f"-ffile-prefix-map={sources}=.", "-Wl,--build-id=none"]
    for spec in specs:
        source = sources / _ROOM / spec.directory
        if not source.is_dir():
            continue
        common = [source / name for name in spec.common if (source / name).exists()]
        for name in spec.programs:
            parts = [source / f"{name}.c", *common]
            with log_file.open("a") as stream:
                stream.write(f"  HOSTCC  {output.name}/{name}\n")
            _compile([cc, *flags, "-o", output / name, *parts], f"selftest {name}", log_file)
    return output


def _compile(words: list[str | Path], what: str, log_file: Path) -> None:
    try:
        command.run(words, timeout_s=HOST.build_s, log_file=log_file)
    except CommandError as error:
        if error.returncode is None or error.returncode < 0:
            raise
        text = log_file.read_text(errors="replace")
        raise BuildError(f"{what}: {first_error(text)}", log=log_file) from error
