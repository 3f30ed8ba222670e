# SPDX-License-Identifier: GPL-2.0-only
"""Archives for a guest: the same bytes from the same files, and owned by root."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from archives import listing, unpacked

from harness.base.store import Store, file_sha256
from harness.guest.archive import archive_of, join_archives, payload_archive, write_archive

FILES = {"bin/sh": b"#!", "etc/a": b"A", "etc/b": b"BB", "z": b""}


def tree(root: Path, names: list[str], time: int) -> Path:
    for place, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(FILES[name])
        os.utime(root / name, (time + place, time + place))
    (root / "link").symlink_to("bin/sh")
    os.utime(root / "bin", (time, time))
    return root


def test_write_archive_is_the_same_whatever_time_and_order(tmp_path: Path) -> None:
    write_archive(tree(tmp_path / "one", list(FILES), 1000), tmp_path / "one.cpio")
    write_archive(tree(tmp_path / "two", list(FILES)[::-1], 2000), tmp_path / "two.cpio")
    assert file_sha256(tmp_path / "one.cpio") == file_sha256(tmp_path / "two.cpio")


def test_write_archive_differs_with_content(tmp_path: Path) -> None:
    root = tree(tmp_path / "root", list(FILES), 1000)
    write_archive(root, tmp_path / "one.cpio")
    (root / "etc/a").write_bytes(b"X")
    write_archive(root, tmp_path / "two.cpio")
    assert file_sha256(tmp_path / "one.cpio") != file_sha256(tmp_path / "two.cpio")


def test_write_archive_holds_files_and_links(tmp_path: Path) -> None:
    write_archive(tree(tmp_path / "root", list(FILES), 1000), tmp_path / "a.cpio")
    root = unpacked(tmp_path / "a.cpio", tmp_path / "out")
    assert {name: (root / name).read_bytes() for name in FILES} == FILES
    assert (root / "link").readlink() == Path("bin/sh")


def test_write_archive_belongs_to_root(tmp_path: Path) -> None:
    root = tree(tmp_path / "root", list(FILES), 1000)
    if os.geteuid() == 0:  # an ordinary user's files are not root's as they are
        os.chown(root / "etc/a", 1234, 1234)
    write_archive(root, tmp_path / "a.cpio")
    assert {tuple(words[2:4]) for words in listing(tmp_path / "a.cpio")} == {("0", "0")}


def test_write_archive_name_with_odd_characters(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / "a b\nc").write_bytes(b"odd")
    write_archive(root, tmp_path / "a.cpio")
    assert (unpacked(tmp_path / "a.cpio", tmp_path / "out") / "a b\nc").read_bytes() == b"odd"


def test_archive_of_files_are_readable_by_root_alone(tmp_path: Path) -> None:
    archive_of({"root/.ssh/authorized_keys": b"key"}, tmp_path / "a.cpio")
    modes = {words[-1]: words[0] for words in listing(tmp_path / "a.cpio")}
    assert modes["root/.ssh/authorized_keys"] == "-rw-------"


def test_archive_of_takes_bytes_and_paths(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"from a file")
    archive_of({"a": b"bytes", "d/b": tmp_path / "file"}, tmp_path / "a.cpio")
    root = unpacked(tmp_path / "a.cpio", tmp_path / "out")
    assert ((root / "a").read_bytes(), (root / "d/b").read_bytes()) == (b"bytes", b"from a file")


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 512])
def test_join_archives_each_begins_at_a_multiple_of_four(tmp_path: Path, size: int) -> None:
    (tmp_path / "one").write_bytes(b"1" * size)
    (tmp_path / "two").write_bytes(b"07070")
    joined = join_archives([tmp_path / "one", tmp_path / "two"])
    assert joined.index(b"07070") == -(-size // 4) * 4
    assert len(joined) % 4 == 0


def test_join_archives_order_is_kept(tmp_path: Path) -> None:
    for name in ("b", "a"):
        (tmp_path / name).write_bytes(name.encode() * 4)
    assert join_archives([tmp_path / "b", tmp_path / "a"]) == b"bbbbaaaa"


def test_payload_archive_puts_files_in_place(tmp_path: Path, store: Store) -> None:
    for name in ("m.ko", "kernel"):
        (tmp_path / name).write_text(name)
    archive = payload_archive(
        {"lib/m.ko": tmp_path / "m.ko", "boot/kernel": tmp_path / "kernel"}, store
    )
    root = unpacked(archive, tmp_path / "out")
    assert [(root / name).read_text() for name in ("lib/m.ko", "boot/kernel")] == ["m.ko", "kernel"]


def test_payload_archive_is_made_once_for_the_same_content(tmp_path: Path, store: Store) -> None:
    (tmp_path / "m.ko").write_bytes(b"ELF")
    (tmp_path / "copy.ko").write_bytes(b"ELF")
    made = {payload_archive({"m.ko": tmp_path / name}, store) for name in ("m.ko", "copy.ko")}
    assert len(made) == 1


def test_payload_archive_other_place_is_another_archive(tmp_path: Path, store: Store) -> None:
    (tmp_path / "m.ko").write_bytes(b"ELF")
    made = {payload_archive({place: tmp_path / "m.ko"}, store) for place in ("a.ko", "b.ko")}
    assert len(made) == 2
