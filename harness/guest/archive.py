# SPDX-License-Identifier: GPL-2.0-only
"""cpio archives: what a kernel unpacks as its root file system, one after the other.

Byte for byte the same whenever they are made of the same files.
"""

from __future__ import annotations

import logging
import os
import stat
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.base import command
from harness.base.store import Store, digest
from harness.base.timeouts import HOST
from harness.guest.module import MODULES_PATH

log = logging.getLogger(__name__)

KERNEL_PATH = f"{MODULES_PATH}/kernel"
"""The image of the kernel that the machine booted; later ones do without it."""

SELFTESTS_PATH = "/usr/lib/selftests"
"""The selftests of the tree under test, in the kernel that the machine booted."""

_EPOCH = 0
"""Modification time of everything in an archive."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Initrd:
    """The archives of one build's initrd; the kernel unpacks one after the other.

    :param shared: the same for every build of a tree's interface.
    :param own: what belongs to the build and to every kernel of a machine: the test module.
    :param first: what only the kernel that QEMU boots has: each live update hashes its initrd
        twice and unpacks it, so the next ones go without.
    """

    shared: tuple[Path, ...]
    own: Path
    first: Path

    @property
    def parts(self) -> tuple[Path, ...]:
        """All of them, in order."""
        return (*self.shared, self.own, self.first)

    @property
    def next_bytes(self) -> int:
        """How many bytes of them the next kernel of a machine is given."""
        return sum(_aligned(part.stat().st_size) for part in (*self.shared, self.own))


def write_archive(root: Path, target: Path) -> None:
    """Write everything below *root* as a cpio archive in ``newc`` form, reproducibly.

    Owner is root, times are the epoch, inode numbers are counted, names are sorted.
    """
    names = sorted(str(path.relative_to(root)) for path in root.rglob("*"))
    for name in names:
        os.utime(root / name, (_EPOCH, _EPOCH), follow_symlinks=False)
        if (root / name).is_dir() and not (root / name).is_symlink():
            (root / name).chmod(0o755)
    done = command.run(
        ["cpio", "--quiet", "-0", "-o", "-H", "newc", "--reproducible", "-R", "0:0", "-F", target],
        cwd=root,
        input=b"".join(name.encode() + b"\0" for name in names),
        timeout_s=HOST.file_s,
    )
    log.debug("cpio: %s", done.stderr)


def compress(archive: Path, target: Path) -> None:
    """Compress an archive with what an emulated CPU unpacks fast.

    A live update hashes it twice, at 33 MB/s under TCG, and the kernel unpacks it at hundreds.
    """
    # The kernel knows LZ4's legacy frames alone (lib/decompress_unlz4.c), ...
    command.run(["lz4", "-q", "-l", "-12", archive, target], timeout_s=HOST.file_s)
    with target.open("ab") as stream:
        # ... and where other archives follow, the size of a chunk that is zero ends them; after
        # that it looks for the next one at a multiple of four (init/initramfs.c).
        stream.write(b"\0" * (4 + -target.stat().st_size % 4))


def archive_of(files: Mapping[str, Path | bytes], target: Path) -> None:
    """Write an archive that holds *files*: path in the guest -> a file or its content.

    Private keys and what lies below ``root/`` are readable by root alone.
    """
    with tempfile.TemporaryDirectory(prefix="harness-archive-") as name:
        root = Path(name) / "root"
        root.mkdir()
        for destination, content in files.items():
            path = root / destination
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else content.read_bytes())
            path.chmod(stat.S_IRUSR | stat.S_IWUSR)
        write_archive(root, target)


def join_archives(parts: Iterable[Path]) -> bytes:
    """Return archives one after the other, each beginning at a multiple of four bytes."""
    data = bytearray()
    for part in parts:
        data += part.read_bytes()
        data += b"\0" * (_aligned(len(data)) - len(data))
    return bytes(data)


def _aligned(size: int) -> int:
    return -(-size // 4) * 4


def payload_archive(files: Mapping[str, Path], store: Store) -> Path:
    """Return an archive that puts *files* (path in the guest -> file) there; cached by content."""
    key = digest("payload", *(part for pair in sorted(files.items()) for part in pair))

    def make(directory: Path) -> None:
        archive_of(files, directory / "payload.cpio")

    return store.get_or_make("payload", key, make) / "payload.cpio"
