# SPDX-License-Identifier: GPL-2.0-only
"""Commands about what the harness keeps."""

from __future__ import annotations

import argparse

from rich.table import Table

from harness.base.errors import ExitCode
from harness.base.room import Part, drop, make_room, parts, room_bytes, sweep
from harness.base.store import Store
from harness.base.terminal import Ui
from harness.cli.options import OUTPUT, Commands, write_json

_CACHE_EXAMPLES = """\
examples:
  harness cache list
  harness cache prune                       down to the cache's room, as every build does
  harness cache prune --unused-days 14
  harness cache prune --max-gib 10          what was not used for longest goes first
"""
_CLEAN_EXAMPLES = """\
examples:
  harness clean                             drop builds, images and probes
  harness clean --all                       also sources, object trees and the compiler cache
"""

_SLOW = ("work", "ccache", "downloads")
"""Kinds that take longest to have again."""


def add_commands(commands: Commands) -> None:
    """Add ``cache`` and ``clean``."""
    text = "what the cache holds, and making room in it"
    cache = commands.add("cache", _cache, text, _CACHE_EXAMPLES, OUTPUT)
    cache.add_argument("what", choices=("list", "prune"))
    cache.add_argument(
        "--unused-days", metavar="N", type=float, help="drop what was not used for so long"
    )
    cache.add_argument(
        "--max-gib", metavar="N", type=float, help="drop what was not used for longest, down to N"
    )
    clean = commands.add("clean", _clean, "drop what is cached", _CLEAN_EXAMPLES, OUTPUT)
    clean.add_argument("--all", action="store_true", help="sources and object trees as well")


def _cache(args: argparse.Namespace, ui: Ui) -> int:
    store = Store(room=None if args.max_gib is None else str(args.max_gib))
    pruning = args.what == "prune"
    found = make_room(store, unused_days=args.unused_days) if pruning else parts(store)
    kinds: dict[str, list[Part]] = {}
    for part in sorted(found, key=lambda part: part.kind):
        kinds.setdefault(part.kind, []).append(part)
    table = Table(box=None, pad_edge=False)
    table.add_column("kind")
    for column in ("entries", "MB"):
        table.add_column(column, justify="right")
    facts = {}
    for kind, own in kinds.items():
        size = sum(part.size_bytes for part in own)
        facts[kind] = {"entries": len(own), "bytes": size}
        table.add_row(kind, str(len(own)), f"{size / 1e6:.0f}")
    total = sum(part.size_bytes for part in found)
    holds = sum(part.size_bytes for part in parts(store)) if pruning else total
    room = room_bytes(store, holds)
    ui.out.print(table)
    said = "dropped" if pruning else "in all"
    ui.out.print(f"{said}: {total / 1e9:.2f} GB, in {store.root}", soft_wrap=True)
    ui.out.print(f"it holds {holds / 2**30:.1f} GiB and has room for {room / 2**30:.1f}")
    write_json(
        args,
        {
            "root": str(store.root),
            "kinds": facts,
            "bytes": total,
            "holds_bytes": holds,
            "room_bytes": room,
        },
    )
    return int(ExitCode.PASSED)


def _clean(args: argparse.Namespace, ui: Ui) -> int:
    store = Store()
    freed, count, left = 0, 0, 0
    for part in parts(store):
        doomed = args.all if part.kind in _SLOW else not part.stays
        if doomed and drop(store, part):
            freed += part.size_bytes
            count += 1
        else:
            left += doomed
    sweep(store)
    ui.out.print(f"dropped {count} entries, {freed / 1e6:.0f} MB, from {store.root}")
    if left:
        ui.out.print(f"left {left} that are in use")
    write_json(args, {"entries": count, "bytes": freed, "root": str(store.root)})
    return int(ExitCode.PASSED)
