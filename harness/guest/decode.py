# SPDX-License-Identifier: GPL-2.0-only
"""Put source lines behind the addresses of a splat.

The kernel prints ``function+0x12/0x34``, which does not depend on where the kernel was loaded.  The
symbol's address comes from ``nm``, the line from one run of ``addr2line`` for all of them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from harness.base import command
from harness.base.arch import architecture
from harness.base.timeouts import HOST
from harness.results.kernel_log import Splat

_FRAME = re.compile(
    r"(?P<symbol>[A-Za-z_][\w.$]*)\+(?P<offset>0x[0-9a-f]{1,16})/0x[0-9a-f]+"
    # With CONFIG_STACKTRACE_BUILD_ID the module's build id stands behind its name.
    r"(?: \[(?P<module>\w+)(?: [0-9a-f]{20,64})?\])?"
)
_AT_ONCE = 1000
"""Addresses of one command line."""


def decode_splats(
    splats: Sequence[Splat], vmlinux: Path, modules: Mapping[str, Path], arch: str | None = None
) -> list[str]:
    """Return each splat's text with ``(file:line)`` behind each address.

    A kernel may print thousands of them in a minute, so the tools run once for all.

    :param modules: module name -> its ``.ko`` with debug information.
    :param arch: the kernel's architecture; ``None`` is the host's.
    :raises CommandError: when the tools fail.
    """
    prefix = architecture(arch).prefix
    frames = [frame for splat in splats for frame in _FRAME.finditer(splat.text)]
    places: dict[tuple[str | None, str, str], str] = {}
    for owner in sorted({frame["module"] for frame in frames}, key=str):
        path = vmlinux if owner is None else modules.get(owner)
        if path is None or not path.exists():
            continue
        wanted = [(f["symbol"], f["offset"]) for f in frames if f["module"] == owner]
        for (symbol, offset), place in _lines(path, wanted, prefix).items():
            places[owner, symbol, offset] = place

    def add(frame: re.Match[str]) -> str:
        place = places.get((frame["module"], frame["symbol"], frame["offset"]))
        return f"{frame[0]} ({place})" if place else frame[0]

    return [_FRAME.sub(add, splat.text) for splat in splats]


def _lines(path: Path, wanted: list[tuple[str, str]], prefix: str) -> dict[tuple[str, str], str]:
    """Return symbol and offset -> ``file:line``, for what *path* knows."""
    names = {symbol for symbol, _ in wanted}
    addresses: dict[str, tuple[str, int]] = {}
    listing = command.run([f"{prefix}nm", "--format=sysv", path], timeout_s=HOST.tool_s).stdout
    for line in listing.splitlines():
        words = [word.strip() for word in line.split("|")]
        if len(words) == 7 and words[0] in names and words[2] in ("t", "T", "w", "W"):
            addresses.setdefault(words[0], (words[6], int(words[1], 16)))
    known = [pair for pair in dict.fromkeys(wanted) if pair[0] in addresses]
    found = {}
    # In a module every section begins at 0: its lines are asked for section by section.
    relocatable = path.suffix == ".ko"
    for section in sorted({addresses[symbol][0] for symbol, _ in known}) if relocatable else [""]:
        pairs = [p for p in known if not relocatable or addresses[p[0]][0] == section]
        if not pairs:
            continue
        # A return address is one past its call: the instruction before it is the one that is meant.
        points = [hex(addresses[s][1] + max(int(o, 16) - 1, 0)) for s, o in pairs]
        only = ["-j", section] if relocatable else []
        places: list[str] = []
        for at in range(0, len(points), _AT_ONCE):
            words = [f"{prefix}addr2line", "-e", str(path), *only, *points[at : at + _AT_ONCE]]
            places += command.run(words, timeout_s=HOST.tool_s).stdout.splitlines()
        for pair, place in zip(pairs, places, strict=False):
            if not place.startswith("??"):
                found[pair] = _below_tree(re.sub(r" \(discriminator \d+\)$", "", place))
    return found


_TREE = re.compile(r"^/.*/(?:work/[^/]+/(?:tree-\d+/)?src|\.\./[^/]+|\.)/")
"""What stands before a path in the kernel tree: that of a work tree, as it is or as seen from its
objects (:mod:`harness.kernel.worktree`)."""


def _below_tree(place: str) -> str:
    """Return a place relative to the kernel tree."""
    return _TREE.sub("", place)
