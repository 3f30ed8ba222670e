# SPDX-License-Identifier: GPL-2.0-only
"""What boots, clones, live updates, builds and verdicts cost: ``scripts/bench``."""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys
import tempfile
from pathlib import Path

from benchmarks.bench import (
    boot_gauge,
    build_gauge,
    clone_gauges,
    selftests_gauge,
    verdict_gauges,
)
from benchmarks.figures import MEANINGS, figure_table, ratios, write_tables
from benchmarks.figures import to_json as figures_json
from benchmarks.gauge import Gauge, choose, take
from benchmarks.rivals import KHO_VMTEST, LUO_VMTEST, virtme_gauges, vmtest_gauge
from benchmarks.rivals import PROFILE as VIRTME
from benchmarks.soak import soak_gauges
from harness.base.errors import ExitCode
from harness.base.progress import OnProgress
from harness.base.spec import Target
from harness.base.terminal import Ui
from harness.cli.main import run_with_ui
from harness.cli.options import COMMON, MACHINE, OUTPUT, PROFILE, TREE, pipeline_of, write_json
from harness.guest.accel import qemu_version
from harness.guest.machine import Machine
from harness.results.history import History
from harness.run.pipeline import Pipeline

EXAMPLES = """\
examples:
  scripts/bench                             everything; takes some 20 minutes
  scripts/bench clone_to_ssh boot_to_ssh    only these, in turns
  scripts/bench quick --runs 30 --json figures.json
  scripts/bench soak                        what is left behind by many clones and live updates
  scripts/bench --table docs/performance.md

names: of figures, of ratios, or quick, slow, soak
"""


def main(argv: list[str]) -> int:
    """Measure what *argv* names, print it, and return the exit code."""
    parser = argparse.ArgumentParser(
        prog="scripts/bench",
        description="What boots, clones, live updates, builds and verdicts cost.",
        epilog=EXAMPLES,
        parents=[COMMON, TREE, MACHINE, OUTPUT, PROFILE],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", metavar="NAME", nargs="*", help="figures (default: all)")
    parser.add_argument(
        "--runs", metavar="N", type=int, default=10, help="of what is quick (default: 10)"
    )
    parser.add_argument(
        "--table", metavar="FILE", type=Path, help="put the tables into a Markdown file"
    )
    parser.set_defaults(run=_bench)
    return run_with_ui(parser.parse_args(argv))


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


def _gauges(pipeline: Pipeline, progress: OnProgress) -> tuple[Gauge, ...]:
    """Return everything that measures, in the order in which it does."""
    build = pipeline.build()

    def pipeline_for(target: Target) -> Pipeline:
        return Pipeline(target, pipeline.store, lambda _text: None)

    def make(logs: Path) -> Machine:
        return pipeline.machine(build, logs)

    virtme = pipeline_for(dataclasses.replace(pipeline.target, profile=VIRTME))
    return (
        boot_gauge("boot_to_ssh", make),
        *virtme_gauges(virtme),
        *clone_gauges(pipeline.templates(build)),
        boot_gauge("boot_cold", make, cold=True),
        vmtest_gauge(pipeline, KHO_VMTEST),
        vmtest_gauge(pipeline, LUO_VMTEST),
        selftests_gauge(pipeline),
        build_gauge(pipeline_for, pipeline.target),
        *verdict_gauges(pipeline),
        *soak_gauges(lambda store: pipeline.templates(build, store=store), progress),
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
