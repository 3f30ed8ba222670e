# SPDX-License-Identifier: GPL-2.0-only
"""What one kernel hands over to the next, read and damaged in memory.

The orchestrator reads sessions at the first open of ``/dev/liveupdate``; before that, the second
kernel's user space can change every byte of them through ``/dev/mem``.  The tree that says where
they are is read while it boots: that can be changed in the first kernel.  Layouts are those of
``include/linux/kho/abi/luo.h``.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from harness.guest.machine import Machine

SUBTREE = "/sys/kernel/debug/kho/in/sub_fdts/LUO"
OUTGOING = "/sys/kernel/debug/kho/out/sub_fdts/LUO"
"""What the next kernel is to find (``kernel/liveupdate/kexec_handover_debugfs.c``)."""
_ROOT = "/sys/kernel/debug/kho/out/fdt"
"""KHO's own tree, with the address of each other one (``kho_add_subtree()``).  The end of it is
missing, names of properties among it: what it had when it was registered is all that is shown."""
COMPATIBLE_BYTES, NAME_BYTES = 48, 64
_SESSION = struct.Struct(f"<{NAME_BYTES}sQQ")
_FILE = struct.Struct(f"<{COMPATIBLE_BYTES}sQQ")
_CHUNK = struct.Struct("<QQ")
_LAYOUTS = {
    "sessions": {"count": 8},
    "session": {"name": NAME_BYTES, "files": 8, "count": 8},
    "file": {"compatible": COMPATIBLE_BYTES, "data": 8, "token": 8},
    "flbs": {"pgcnt": 8, "count": 8},
    "flb": {"name": COMPATIBLE_BYTES, "data": 8, "count": 8},
    "memfd": {
        "pos": 8,
        "size": 8,
        "nr_folios": 8,
        "folios.first": 8,
        "folios.total_pages": 4,
        "folios.flags": 2,
        "folios.order": 2,
    },
    "chunk": {"next": 8, "phys": 8},
    "folio": {"pfn": 8, "index": 8},
}
"""Fields and their bytes.  The 12 bits above a ``pfn`` are flags (``memfd.h`` beside ``luo.h``);
a chunk is a page that begins like that (``kexec_handover.h``)."""
_BEGIN, _END, _PROP, _NOP, _STOP = 1, 2, 3, 4, 9
"""Tokens of a flattened device tree (Devicetree Specification 0.4, section 5.4.1)."""


@dataclass(frozen=True)
class File:
    """A serialized file: where it is, where its handler's data is, and its token."""

    at: int
    data: int
    token: int


@dataclass(frozen=True)
class Field:
    """A field of a serialized structure: where it is, and how many bytes it has."""

    at: int
    length: int


@dataclass(frozen=True)
class Session:
    """A serialized session: where it is, its name and its files."""

    at: int
    name: bytes
    files: tuple[File, ...]


def read(machine: Machine, at: int, length: int) -> bytes:
    """Return *length* bytes of physical memory."""
    command = f"dd if=/dev/mem iflag=skip_bytes skip={at} bs={length} count=1 2>/dev/null | od -v"
    out = machine.check(["sh", "-c", f"{command} -An -tx1"])
    return bytes.fromhex("".join(out.split()))


def write(machine: Machine, at: int, data: bytes) -> None:
    """Overwrite physical memory."""
    escaped = "".join(f"\\{byte:03o}" for byte in data)
    machine.check(
        ["sh", "-c", f"printf '{escaped}' | dd of=/dev/mem oflag=seek_bytes seek={at} conv=notrunc"]
    )
    assert read(machine, at, len(data)) == data


def sessions(machine: Machine) -> tuple[Session, ...]:
    """Return the sessions that wait to be deserialized."""
    at = _header(machine, "luo-session-header")
    (count,) = struct.unpack("<Q", read(machine, at, 8))
    found = []
    for number in range(count):
        where = at + 8 + number * _SESSION.size
        name, files, many = _SESSION.unpack(read(machine, where, _SESSION.size))
        places = [files + i * _FILE.size for i in range(many)]
        found.append(
            Session(
                at=where,
                name=name.rstrip(b"\0"),
                files=tuple(_file(machine, place) for place in places),
            )
        )
    return tuple(found)


def fields(machine: Machine) -> dict[str, Field]:
    """Return every field of what was handed over, of each structure the first.

    The first session's first file is another handler's, its second a memfd with content.
    """
    session = sessions(machine)[0]
    memfd = session.files[1].data
    flbs = _header(machine, "luo-flb-header")
    (chunk,) = struct.unpack("<Q", read(machine, memfd + 24, 8))
    _, folio = _CHUNK.unpack(read(machine, chunk, _CHUNK.size))
    places = {
        "sessions": session.at - 8,
        "session": session.at,
        "file": session.files[0].at,
        "flbs": flbs,
        "flb": flbs + 16,
        "memfd": memfd,
        "chunk": chunk,
        "folio": folio,
    }
    found = {}
    for structure, at in places.items():
        for name, length in _LAYOUTS[structure].items():
            found[f"{structure}.{name}"] = Field(at, length)
            at += length
    # What a memfd's handler makes of its data; the other file's is the test module's.
    found["file.data"] = Field(session.files[1].at + COMPATIBLE_BYTES, 8)
    return found


def damage_outgoing(machine: Machine, word: bytes) -> None:
    """Change the first letter of a name in the live update tree that the next kernel is to read."""
    tree = _blob(machine, OUTGOING)
    assert tree.count(word) == 1, word
    root, node = _blob(machine, _ROOT), struct.pack(">I4sII", _BEGIN, b"LUO", _PROP, 8)
    (start,) = struct.unpack_from("<Q", root, root.index(node) + len(node) + 4)
    at = start + tree.index(word)
    assert read(machine, at, len(word)) == word
    write(machine, at, b"X")


def _file(machine: Machine, at: int) -> File:
    _, data, token = _FILE.unpack(read(machine, at, _FILE.size))
    return File(at=at, data=data, token=token)


def _header(machine: Machine, name: str) -> int:
    """Return where a list begins, as the live update tree says."""
    (at,) = struct.unpack("<Q", _property(_blob(machine, SUBTREE), name))
    return int(at)


def _blob(machine: Machine, path: str) -> bytes:
    return bytes.fromhex("".join(machine.check(["od", "-v", "-An", "-tx1", path]).split()))


def _property(tree: bytes, name: str) -> bytes:
    """Return the first property of that name in a flattened device tree."""
    position, strings = struct.unpack_from(">II", tree, 8)
    while True:
        (token,) = struct.unpack_from(">I", tree, position)
        position += 4
        if token == _PROP:
            length, offset = struct.unpack_from(">II", tree, position)
            start = strings + offset
            if tree[start : tree.index(b"\0", start)].decode() == name:
                return tree[position + 8 : position + 8 + length]
            position += 8 + length
        elif token == _BEGIN:
            position = tree.index(b"\0", position) + 1
        elif token == _STOP:
            raise AssertionError(f"the live update tree has no {name}")
        elif token not in (_END, _NOP):
            raise AssertionError(f"the live update tree is damaged at byte {position - 4}")
        position = (position + 3) & ~3
