# SPDX-License-Identifier: GPL-2.0-only
"""What the previous kernel handed over, read and damaged in the second kernel's memory.

The orchestrator reads it at the first open of ``/dev/liveupdate``; before that, the second
kernel's user space can change every byte of it through ``/dev/mem``.  Layouts are those of
``include/linux/kho/abi/luo.h``.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from harness.guest.machine import Machine

SUBTREE = "/sys/kernel/debug/kho/in/sub_fdts/LUO"
COMPATIBLE_BYTES, NAME_BYTES = 48, 64
_SESSION = struct.Struct(f"<{NAME_BYTES}sQQ")
_FILE = struct.Struct(f"<{COMPATIBLE_BYTES}sQQ")
_BEGIN, _END, _PROP, _NOP, _STOP = 1, 2, 3, 4, 9
"""Tokens of a flattened device tree (Devicetree Specification 0.4, section 5.4.1)."""


@dataclass(frozen=True)
class File:
    """A serialized file: where it is, and its token."""

    at: int
    token: int


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
    text = machine.check(["od", "-v", "-An", "-tx1", SUBTREE])
    header = _property(bytes.fromhex("".join(text.split())), "luo-session-header")
    (at,) = struct.unpack("<Q", header)
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
                files=tuple(
                    File(at=place, token=_FILE.unpack(read(machine, place, _FILE.size))[2])
                    for place in places
                ),
            )
        )
    return tuple(found)


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
