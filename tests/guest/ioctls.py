# SPDX-License-Identifier: GPL-2.0-only
"""Ioctls by chance: mostly well-formed, with one thing or another that is not.

Layouts and numbers are those of ``include/uapi/linux/liveupdate.h``.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Collection, Sequence

from prepared import NAME_BYTES

from harness.results.schedule import Operation

CREATE, RETRIEVE = 0xBA00, 0xBA01
OF_DEVICE = {CREATE: 8 + NAME_BYTES, RETRIEVE: 8 + NAME_BYTES}
"""The bytes of their arguments."""

PRESERVE_FD, RETRIEVE_FD, FINISH, GET_NAME = 0xBA40, 0xBA41, 0xBA42, 0xBA43
OF_SESSION = {PRESERVE_FD: 16, RETRIEVE_FD: 16, FINISH: 8}

STRANGE = (0xBA02, 0xBA3F, 0xBA4F, 0xBAFF, 0xBB00, 0x4008BA00, 0xC010BA40, 0x5401)
"""Nothing that the device or a session knows."""

NUMBERS = (0, 1, 2, 3, 7, 2**31 - 1, 2**31, 2**32 - 1)
TOKENS = (0, 1, 2, 3, 2**32, 2**63, 2**64 - 1)


def named(name: str, fd: int = 0) -> bytes:
    """Return the argument that creates or retrieves a session."""
    return struct.pack(f"<Ii{NAME_BYTES}s", 8 + NAME_BYTES, fd, name.encode())


def draw_ioctl(
    chance: random.Random, sessions: Sequence[str], without: Collection[int] = ()
) -> Operation:
    """Return an ioctl, mostly with an argument as the kernel wants it.

    :param sessions: that the agent holds; half of the ioctls are for one of them.
    :param without: those that always are too short.
    """
    on_device = chance.random() < 0.5
    known = OF_DEVICE if on_device else OF_SESSION
    request = chance.choice(tuple(known) if chance.random() < 0.9 else STRANGE)
    length = known.get(request, 16)
    size = length if chance.random() < 0.8 else chance.choice((*NUMBERS, 4, length - 1, length + 8))
    if request in without:
        size = min(size, length - 1)
    if on_device:
        rest = struct.pack("<I", chance.choice(NUMBERS)) + _name(chance, sessions)
    else:
        rest = struct.pack("<IQ", _fd(chance), chance.choice(TOKENS))
    argument = (struct.pack("<I", size) + rest).ljust(length + 8, chance.choice((b"\0", b"\xff")))
    words = ("raw", ".device" if on_device else chance.choice(sessions), hex(request))
    return (*words, argument.hex(), *(("read-only",) if chance.random() < 0.1 else ()))


def is_refused(operation: Operation) -> bool:
    """Whether the kernel has to refuse it, whatever it holds by then: unknown, or of wrong size."""
    known = OF_DEVICE if operation[1] == ".device" else OF_SESSION
    request, argument = int(operation[2], 16), bytes.fromhex(operation[3])
    (size,) = struct.unpack_from("<I", argument)
    length = known.get(request)
    if length is None or size < length:
        return True
    # What is behind the structure that the kernel knows is to be zero.
    return any(argument[length:size])


def _name(chance: random.Random, sessions: Sequence[str]) -> bytes:
    kind = chance.randrange(4)
    if kind == 0:
        return chance.choice(sessions).encode().ljust(NAME_BYTES, b"\0")
    if kind == 1:
        return chance.randbytes(NAME_BYTES)
    if kind == 2:
        return b"x" * NAME_BYTES
    return f"f-{chance.randrange(20)}".encode().ljust(NAME_BYTES, b"\0")


def _fd(chance: random.Random) -> int:
    """Mostly a descriptor that may be there."""
    return chance.randrange(40) if chance.random() < 0.8 else chance.choice(NUMBERS)
