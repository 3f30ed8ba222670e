# SPDX-License-Identifier: GPL-2.0-only
"""Commands about what the harness keeps."""

from __future__ import annotations

import argparse
import shutil

from rich.table import Table

from harness.base.errors import ExitCode, InputError
from harness.base.store import Entry, Store, to_prune
from harness.base.terminal import Ui
from harness.cli.options import OUTPUT, Commands, write_json

_CACHE_EXAMPLES = """\
examples:
  harness cache list
  harness cache prune --unused-days 14
  harness cache prune --max-gib 10          what was not used for longest goes first
"""
_CLEAN_EXAMPLES = """\
examples:
  harness clean                             drop builds, images and probes
  harness clean --all                       also sources, object trees and the compiler cache
"""


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
    store = Store()
    entries = list(store.entries())
    doomed: list[Entry] = []
    if args.what == "prune":
        if args.unused_days is None and args.max_gib is None:
            raise InputError("nothing says what to drop", hint="--unused-days N or --max-gib N")
        doomed = to_prune(entries, unused_days=args.unused_days, max_gib=args.max_gib)
        for entry in doomed:
            store.remove(entry.kind, entry.key)
    kinds: dict[str, list[Entry]] = {}
    for entry in doomed if args.what == "prune" else entries:
        kinds.setdefault(entry.kind, []).append(entry)
    table = Table(box=None, pad_edge=False)
    table.add_column("kind")
    for column in ("entries", "MB"):
        table.add_column(column, justify="right")
    found = {
        kind: {"entries": len(own), "bytes": sum(entry.size_bytes for entry in own)}
        for kind, own in sorted(kinds.items())
    }
    if args.what == "list":
        for name, size in store.other_sizes().items():
            found[name] = {"entries": 1, "bytes": size}
    for kind, facts in found.items():
        table.add_row(kind, str(facts["entries"]), f"{facts['bytes'] / 1e6:.0f}")
    total = sum(facts["bytes"] for facts in found.values())
    ui.out.print(table)
    said = "dropped" if args.what == "prune" else "in all"
    ui.out.print(f"{said}: {total / 1e9:.2f} GB, in {store.root}", soft_wrap=True)
    write_json(args, {"root": str(store.root), "kinds": found, "bytes": total})
    return int(ExitCode.PASSED)


def _clean(args: argparse.Namespace, ui: Ui) -> int:
    store = Store()
    kept = () if args.all else ("source",)
    freed, count = 0, 0
    for entry in list(store.entries()):
        if entry.kind not in kept:
            store.remove(entry.kind, entry.key)
            freed += entry.size_bytes
            count += 1
    store.sweep(0.0)
    if args.all:
        for name in ("work", "ccache", "downloads"):
            shutil.rmtree(store.root / name, ignore_errors=True)
    ui.out.print(f"dropped {count} entries, {freed / 1e6:.0f} MB, from {store.root}")
    write_json(args, {"entries": count, "bytes": freed, "root": str(store.root)})
    return int(ExitCode.PASSED)
