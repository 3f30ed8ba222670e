# SPDX-License-Identifier: GPL-2.0-only
"""What is in an archive, as others read it."""

from __future__ import annotations

import subprocess
from pathlib import Path


def unpacked(archive: Path, target: Path) -> Path:
    """Unpack an archive; a compressed one as the kernel does (``lib/decompress_unlz4.c``)."""
    target.mkdir()
    data = archive.read_bytes()
    if archive.suffix == ".lz4":
        end = 4
        while size := int.from_bytes(data[end : end + 4], "little"):
            end += 4 + size
        assert (len(data) % 4, data[end:].strip(b"\0")) == (0, b"")
        done = subprocess.run(
            ["lz4", "-q", "-d"], input=data[:end], capture_output=True, check=True
        )
        data = done.stdout
    subprocess.run(["cpio", "--quiet", "-id"], cwd=target, input=data, check=True)
    return target


def listing(archive: Path) -> list[list[str]]:
    with archive.open("rb") as stream:
        done = subprocess.run(
            ["cpio", "--quiet", "-itvn"], stdin=stream, check=True, capture_output=True, text=True
        )
    return [line.split() for line in done.stdout.splitlines()]
