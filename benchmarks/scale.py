# SPDX-License-Identifier: GPL-2.0-only
"""How far a matrix scales: ``python -m benchmarks.scale``.

What a cell costs beside its jobs is measured on Dask's own scheduler, with workers that pretend;
then matrices of recorded times are simulated for 1 to 256 workers.  The simulation is held against
the same scheduler, with jobs that sleep.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks import crowd
from benchmarks.crowd import Costs, Crowd
from benchmarks.figures import replace_block
from benchmarks.simulate import Outcome, Work, simulate, stops, table
from harness.base.errors import ExitCode
from harness.base.progress import OnProgress, Progress
from harness.base.settings import target_from_settings
from harness.base.spec import Target
from harness.base.store import Store
from harness.base.terminal import Ui
from harness.cli.main import run_with_ui
from harness.cli.options import COMMON
from harness.cluster.job import sent_files
from harness.run.pipeline import Pipeline

SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
SERIES = 24
"""Series of the larger matrix."""

CELLS = Path(__file__).with_name("cells.json")
"""What was recorded."""

_FEW, _MANY = 2, 64
"""Numbers of workers that costs are measured with; for others they lie on the line through both."""

_JOBS, _LOOKS, _IDLE_S = 40, 20, 10.0
_REPLAY_WORKERS, _REPLAY_SERIES, _SPEED = 8, 6, 30.0
BEGIN, END = "<!-- scale -->", "<!-- end of scale -->"


def main(argv: list[str]) -> int:
    """Measure, simulate, print it, and return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.scale", description=__doc__, parents=[COMMON]
    )
    parser.add_argument("--table", metavar="FILE", type=Path, help="put it into a Markdown file")
    parser.set_defaults(run=_scale)
    return run_with_ui(parser.parse_args(argv))


def _scale(args: argparse.Namespace, ui: Ui) -> int:
    recorded = json.loads(CELLS.read_text())
    with ui.progress() as progress:
        costs_of, said = measure(progress)
        progress(Progress("jobs that sleep"))
        said.append(compare(_work(recorded, _REPLAY_SERIES, cold=False), costs_of(_REPLAY_WORKERS)))
    lines = [f"Recorded: {recorded['recorded']}.", "", *(f"- {line}" for line in said), ""]
    for series in (1, SERIES):
        for cold in (False, True):
            work = _work(recorded, series, cold=cold)
            outcomes = [simulate(work, size, costs_of(size)) for size in SIZES]
            lines += [_title(work, outcomes, cold=cold), "", *table(outcomes), ""]
    for line in lines:
        ui.out.print(line, markup=False, soft_wrap=True)
    if args.table is not None:
        replace_block(args.table, BEGIN, END, "\n".join(lines))
    return int(ExitCode.PASSED)


def _work(recorded: dict[str, Any], series: int, *, cold: bool) -> Work:
    return Work(
        cells_s=tuple(recorded["cells_s"]),
        series=series,
        build_s=recorded["build_s"],
        first_build_s=recorded["cold_build_s" if cold else "build_s"],
    )


def _title(work: Work, outcomes: Sequence[Outcome], *, cold: bool) -> str:
    last = stops(outcomes)
    trees = "a worker's first kernel is built cold" if cold else "object trees are there"
    matrix = "One series" if work.series == 1 else f"{work.series} series at once"
    return (
        f"**{matrix}, {work.cells} cells, {work.kernels} kernels; {trees}.** It scales up to "
        f"{last.workers} workers: {last.seconds:,.0f} s; then {stops_by(outcomes)} is in the way."
    )


def stops_by(outcomes: Sequence[Outcome]) -> str:
    """Return what keeps twice as many workers from being faster."""
    return outcomes[min(outcomes.index(stops(outcomes)) + 1, len(outcomes) - 1)].limit


# -- costs ---------------------------------------------------------------------------------


def measure(progress: OnProgress) -> tuple[Callable[[int], Costs], list[str]]:
    """Return what a cell costs on a cluster of a size, and what was measured, for people."""
    progress(Progress("what asking costs"))
    prepare_s = measure_prepare()
    found = {}
    for workers in (_FEW, _MANY):
        progress(Progress(f"a scheduler with {workers} workers"))
        with crowd.crowd(workers) as some:
            found[workers] = _costs(some, prepare_s)
    few, many = found[_FEW], found[_MANY]

    def costs_of(workers: int) -> Costs:
        share = max(0.0, (workers - _FEW) / (_MANY - _FEW))

        def line(name: str) -> float:
            low, high = getattr(few, name), getattr(many, name)
            return float(low + share * max(0.0, high - low))

        return Costs(**{field.name: line(field.name) for field in dataclasses.fields(Costs)})

    said = [
        f"asking for a cell: {prepare_s:.2f} s of CPU (patches, keys and commits of three kernels)",
        *(
            f"with {workers} workers: a cell's jobs and {crowd.RESULT_BYTES >> 20} MiB of results "
            f"cost the scheduler {1000 * c.scheduler_s:.0f} ms of CPU, the one who asks "
            f"{1000 * c.collect_s:.0f} ms; with nothing to do the scheduler is {c.idle:.1%} busy; "
            f"telling of the workers costs it {1000 * c.look_s:.1f} ms a second"
            for workers, c in found.items()
        ),
    ]
    return costs_of, said


def _costs(some: Crowd, prepare_s: float) -> Costs:
    idle = crowd.measure_idle(some, _IDLE_S)
    look_s = crowd.measure_look(some, _LOOKS)
    scheduler_s, collect_s = crowd.measure_jobs(some, _JOBS)
    return Costs(
        prepare_s=prepare_s,
        collect_s=collect_s,
        scheduler_s=scheduler_s,
        idle=idle,
        look_s=look_s,
    )


def measure_prepare() -> float:
    """Return what asking for a cell of the suite's series costs, with what that starts."""
    settings: dict[str, str] = {}
    target, store = target_from_settings(settings.get), Store()

    def prepare(position: int | None) -> None:
        at: Target = dataclasses.replace(target, position=position)
        pipeline = Pipeline(at, store, lambda _progress: None)
        _ = pipeline.build_key()
        sent_files(Pipeline(at, store, lambda _progress: None))

    prepare(0)  # what is done once in a process
    began = sum(os.times()[:4])
    for position in (1, 0, None):
        prepare(position)
    return sum(os.times()[:4]) - began


# -- the same on the scheduler itself --------------------------------------------------------


def compare(work: Work, costs: Costs) -> str:
    """Say how long work takes on the scheduler, its jobs sleeping, and in the simulation."""
    quick = Work(
        cells_s=tuple(seconds / _SPEED for seconds in work.cells_s),
        series=work.series,
        build_s=work.build_s / _SPEED,
        first_build_s=work.first_build_s / _SPEED,
    )
    simulated = simulate(quick, _REPLAY_WORKERS, dataclasses.replace(costs, prepare_s=0.0))
    with crowd.crowd(_REPLAY_WORKERS) as some:
        took = replay(quick, some)
    return (
        f"{work.cells} cells on {_REPLAY_WORKERS} workers, {_SPEED:.0f} times as fast, jobs that "
        f"sleep: {took:.1f} s on Dask's scheduler, {simulated.seconds:.1f} s simulated"
    )


def replay(work: Work, some: Crowd) -> float:
    """Run all cells with jobs that sleep; return how long that took."""
    began = time.monotonic()

    def run(cell: int) -> None:
        for kernel in work.needed(cell):
            crowd.build(some.cluster, f"{began}-{kernel}", work.build_s)
        crowd.test(some.cluster, work.cells_s[cell % len(work.cells_s)])

    with ThreadPoolExecutor(_REPLAY_WORKERS * crowd.GUESTS + 1) as pool:
        for done in [pool.submit(run, cell) for cell in range(work.cells)]:
            done.result()
    return time.monotonic() - began


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
