# SPDX-License-Identifier: GPL-2.0-only
"""Commands about the harness itself: what it costs, and what it keeps."""

from __future__ import annotations

import argparse
import dataclasses
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from rich.table import Table

from harness.base.errors import ExitCode, InputError
from harness.base.spec import Target
from harness.base.store import Entry, Store, to_prune
from harness.base.terminal import Ui
from harness.benchmarks.bench import boot_gauge, build_gauge, clone_gauges, verdict_gauges
from harness.benchmarks.figures import MEANINGS, figure_table, ratios, write_tables
from harness.benchmarks.figures import to_json as figures_json
from harness.benchmarks.gauge import Gauge, choose, take
from harness.benchmarks.rivals import PROFILE as VIRTME
from harness.benchmarks.rivals import virtme_gauges, vmtest_gauge
from harness.benchmarks.soak import soak_gauges
from harness.cli.options import OUTPUT, PROFILE, TREE, VM, Commands, pipeline_of, write_json
from harness.guest.accel import qemu_version
from harness.guest.machine import VirtualMachine
from harness.results.history import History
from harness.run.pipeline import Pipeline

_BENCH_EXAMPLES = """\
examples:
  harness bench                             everything; takes some 20 minutes
  harness bench clone_to_ssh boot_to_ssh    only these, in turns
  harness bench quick --runs 30 --json figures.json
  harness bench soak                        what is left behind by many clones and live updates
  harness bench --table docs/performance.md

names: of figures, of ratios, or quick, slow, soak
"""
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
    """Add ``bench``, ``cache`` and ``clean``."""
    text = "what boots, clones, updates and builds cost"
    bench = commands.add("bench", _bench, text, _BENCH_EXAMPLES, TREE, VM, OUTPUT, PROFILE)
    bench.add_argument("names", metavar="NAME", nargs="*", help="figures (default: all)")
    bench.add_argument(
        "--runs", metavar="N", type=int, default=10, help="of what is quick (default: 10)"
    )
    bench.add_argument(
        "--table", metavar="FILE", type=Path, help="put the tables into a Markdown file"
    )
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


def _bench(args: argparse.Namespace, ui: Ui) -> int:
    chosen = choose(args.names)
    with ui.progress() as progress, tempfile.TemporaryDirectory(prefix="harness-bench-") as name:
        pipeline = pipeline_of(args, progress)
        pipeline.check_machine()
        gauges = [g for g in _gauges(pipeline, progress) if chosen.intersection(g.figures)]
        figures = take(gauges, Path(name), runs=max(1, args.runs), progress=progress)
        release = pipeline.build().release
    figures += ratios(figures)
    ui.out.print(figure_table(figures))
    measured = {figure.name: figure for figure in figures if figure.values}
    accel, profile = pipeline.accel, pipeline.profile.name
    with History() as history:
        history.add_figures(
            figures_json(f for name, f in measured.items() if name in MEANINGS),
            release=release,
            accel=accel.name,
            profile=profile,
        )
    if args.table is not None:
        qemu, cpus = qemu_version(pipeline.qemu), os.cpu_count()
        title = f"Linux {release}, profile {profile}, QEMU {qemu} ({accel.name}), {cpus} CPUs."
        write_tables(args.table, figures, title)
    write_json(args, figures_json(figures))
    own = {name for gauge in gauges if not gauge.foreign for name in gauge.figures}
    failed = any(figure.error is not None for figure in figures if figure.name in own)
    return int(ExitCode.INFRASTRUCTURE if failed else ExitCode.PASSED)


def _gauges(pipeline: Pipeline, progress: Callable[[str], None]) -> tuple[Gauge, ...]:
    """Return everything that measures, in the order in which it does."""
    build = pipeline.build()

    def pipeline_for(target: Target) -> Pipeline:
        return Pipeline(target, pipeline.store, lambda _text: None)

    def make(logs: Path) -> VirtualMachine:
        return pipeline.machine(build, logs)

    virtme = pipeline_for(dataclasses.replace(pipeline.target, profile=VIRTME))
    return (
        boot_gauge("boot_to_ssh", make),
        *virtme_gauges(virtme),
        *clone_gauges(pipeline.templates(build)),
        boot_gauge("boot_cold", make, cold=True),
        vmtest_gauge(pipeline),
        build_gauge(pipeline_for, pipeline.target),
        *verdict_gauges(pipeline),
        *soak_gauges(lambda store: pipeline.templates(build, store=store), progress),
    )


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
