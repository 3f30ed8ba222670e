# SPDX-License-Identifier: GPL-2.0-only
"""Tiny kernel trees, and how they are opened."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

from harness.base.spec import KernelSpec
from harness.base.store import Store
from harness.kernel.source import SourceTree, open_source

MAKEFILE = "VERSION = 7\nPATCHLEVEL = 1\nSUBLEVEL = 3\nEXTRAVERSION = -rc2\nNAME = Tiny\n"
FILES = {"Makefile": MAKEFILE, "Kconfig": "\n", "kernel/a.c": "a\n", ".gitignore": "*.o\n"}


def git(repo: Path, *words: str) -> str:
    identity = ["-c", "user.name=A", "-c", "user.email=a@example.com"]
    done = subprocess.run(
        ["git", *identity, "-C", repo, *words], check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def tarball(directory: Path, files: dict[str, str], name: str = "linux.tar.xz") -> Path:
    write(directory / "unpacked/linux-7.1", files)
    target = directory / name
    subprocess.run(["tar", "-caf", target, "-C", directory / "unpacked", "linux-7.1"], check=True)
    return target


def opened(store: Store, **spec: Any) -> SourceTree:
    return open_source(KernelSpec(**spec), store, progress=lambda text: None)


def left(store: Store) -> list[Path]:
    """Return all repositories that the store holds, and whatever lies in tmp."""
    return [*store.root.glob("work/*/*"), *store.root.glob("tmp/*")]


def kernel_tree(tmp_path: Path) -> Path:
    """A tiny tree in git: tag v1, then one commit more."""
    path = write(tmp_path / "linux", FILES)
    git(tmp_path, "init", "-q", "-b", "main", str(path))
    git(path, "add", ".")
    git(path, "commit", "-qm", "one")
    git(path, "tag", "v1")
    (path / "kernel/a.c").write_text("b\n")
    git(path, "commit", "-qam", "two")
    return path
