# SPDX-License-Identifier: GPL-2.0-only
"""``harness mutants``: would the tests notice a wrong patch?"""

from __future__ import annotations

import argparse
import dataclasses
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from harness.base.errors import InputError
from harness.base.spec import Target
from harness.base.store import Store
from harness.base.terminal import ProgressDisplay, Ui
from harness.cli.cluster import add_cluster_options, cluster_of, runner
from harness.cli.options import (
    MACHINE,
    OUTPUT,
    PLACE,
    TREE,
    Commands,
    parallel_cells,
    pipeline_of,
    results_of,
    write_json,
)
from harness.report.mutants import print_trials, record_of, to_markdown, trial_line
from harness.report.page import write_report
from harness.report.sections import load_sections
from harness.results.form import write_file
from harness.results.pace import Pace
from harness.results.records import record_json
from harness.results.results import Outcome
from harness.run.cell import Cell, CellResult
from harness.run.executor import run_cell
from harness.run.parallel import Once, side_by_side
from harness.run.pipeline import Pipeline
from harness.search.coverage import counted
from harness.search.generated import (
    Generated,
    Schemata,
    build_all,
    chosen,
    generate,
    mutant_cell,
    mutant_of,
    mutation_of,
    seconds_of,
    sound_cell,
)
from harness.search.matrix import run_cells
from harness.search.mutants import (
    Mutant,
    Trial,
    exit_code,
    judge,
    mutants_of,
    try_mutant,
    unreached,
)
from harness.search.reach import Reach, reaching_tests, read_reach
from harness.search.schemata import one

_EXAMPLES = """\
examples:
  harness mutants                           all of tests/mutants/
  harness mutants duplicate-session token-reused
  harness mutants --table docs/mutants.md   and write the table of the documentation
  harness mutants --generated --list 'file.*'
  harness mutants --generated --shard 2/3   the second third of what can be generated
"""

_COVERAGE = "coverage"
"""The profile whose kernels count lines."""
_REACHED = "reached"
"""The directory of the results that they came to."""


def add_mutants(commands: Commands) -> None:
    """Add ``mutants``."""
    text = "would the tests notice a wrong patch?"
    mutants = commands.add("mutants", _mutants, text, _EXAMPLES, TREE, MACHINE, PLACE, OUTPUT)
    mutants.add_argument("names", nargs="*", metavar="NAME", help="mutants (default: all)")
    mutants.add_argument(
        "--profile", dest="only_profile", metavar="NAME", help="only those of a profile"
    )
    mutants.add_argument(
        "--generated",
        action="store_true",
        help="those that are made of the suite's C files, all in one kernel; NAME may have a *",
    )
    mutants.add_argument(
        "--shard", metavar="K/N", help="only the K-th of N equal parts, for several machines"
    )
    mutants.add_argument(
        "--equivalent",
        action="store_true",
        help="generated ones that no test can notice as well: whether they do survive",
    )
    mutants.add_argument("--list", action="store_true", help="show them, and try none")
    mutants.add_argument(
        "--write", metavar="DIR", type=Path, help="write each generated one as a patch, try none"
    )
    mutants.add_argument(
        "--parallel",
        metavar="N",
        type=int,
        help="generated ones under way at once (default: half the CPUs, two at least)",
    )
    mutants.add_argument(
        "--unordered",
        action="store_true",
        help="try generated ones by all tests, without asking first which of them reach a line",
    )
    mutants.add_argument("--table", metavar="FILE", type=Path, help="write the table as Markdown")
    mutants.add_argument("--fresh", action="store_true", help="use no cached results")
    add_cluster_options(mutants)


def _shard(text: str | None) -> tuple[int, int]:
    if text is None:
        return 1, 1
    match = re.fullmatch(r"(\d+)/(\d+)", text)
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise InputError(f"--shard: {text!r} is no part of a whole", hint="such as 1/3")
    return int(match[1]), int(match[2])


def _mutants(args: argparse.Namespace, ui: Ui) -> int:
    part, of = _shard(args.shard)
    if args.generated and cluster_of(args) is not None:
        raise InputError("generated mutants run on this host", hint="--shard K/N takes a part")
    if args.write is not None and not args.generated:
        raise InputError("--write: the suite's own mutants are patches already")
    with ui.progress() as progress:
        pipeline = pipeline_of(args, progress)
        suite = pipeline.suite
        if args.generated:
            generated = generate(_at_last(pipeline, progress))
            numbers = chosen(
                generated, args.names, args.only_profile, (part, of), equivalent=args.equivalent
            )
            mutants = [mutant_of(generated, number, Path()) for number in numbers]
        else:
            mutants = [
                mutant
                for mutant in mutants_of(suite, args.names)
                if args.only_profile in (None, mutant.profile)
            ][part - 1 :: of]
        if not args.list and args.write is None and cluster_of(args) is None:
            _ = pipeline.applied, pipeline.accel
        sections = load_sections(suite)
    if args.write is not None:
        args.write.mkdir(parents=True, exist_ok=True)
        for number in numbers:
            mutation = generated.mutations[number]
            file = args.write / f"{number:03}-{mutation.name}.patch"
            file.write_text(one(mutation, generated.sources))
    if args.list or args.write is not None:
        for mutant in mutants:
            ui.out.print(f"{mutant.name}: {mutant.what}", markup=False, soft_wrap=True)
        ui.out.print(f"{len(mutants)} mutants")
        return 0
    target = dataclasses.replace(pipeline.target, position=pipeline.applied.last)
    directory = results_of(args)
    if args.generated:
        tried = _Generated(args, ui, pipeline, target, directory).trials(generated, numbers)
    else:
        tried = _by_hand(args, ui, pipeline, mutants, target, directory)
    trials: list[Trial] = []
    for trial in tried:
        trials.append(trial)
        ui.line(trial_line(trial))
        write_file(directory / "mutants.json", record_json(record_of(trials)))
    print_trials(trials, ui.out)
    ui.out.print(f"report: {write_report(directory, sections)}", markup=False, soft_wrap=True)
    write_json(args, record_json(record_of(trials)))
    if args.table is not None:
        title = f"Linux {pipeline.applied.source.version}, {len(trials)} mutants."
        args.table.write_text(to_markdown(trials, title, generated=args.generated))
    return int(exit_code(trials))


def _at_last(pipeline: Pipeline, progress: Callable[..., None]) -> Pipeline:
    """Return the stages of the last position, whatever position the target names."""
    target = dataclasses.replace(pipeline.target, position=pipeline.applied.last)
    return Pipeline(target, pipeline.store, progress)


def _by_hand(
    args: argparse.Namespace,
    ui: Ui,
    pipeline: Pipeline,
    mutants: list[Mutant],
    target: Target,
    directory: Path,
) -> Iterator[Trial]:
    with (
        runner(args, pipeline.suite.root, run_cell) as where,
        ui.progress(Pace(pipeline.store).seconds, total=len(mutants)) as progress,
    ):

        def run(cell: Cell, name: str) -> CellResult:
            with progress.lane(name) as say:
                return where.run(
                    cell,
                    store=Store(pipeline.store.root),
                    directory=directory / name,
                    progress=say,
                    fresh=args.fresh,
                )

        once = Once(run)  # the kernel without a mutant is asked for again with every mutant
        tried = side_by_side(
            mutants,
            lambda mutant: try_mutant(mutant, target, once),
            parallel=where.parallel if cluster_of(args) else 1,
        )
        for trial in tried:
            yield trial
            progress.done()


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Without:
    """What all tests come to on a profile's kernel while none of its mutants is on.

    :param build: that kernel's, as results name it.
    """

    schemata: Schemata
    build: str
    result: CellResult


class _Generated:
    """A run over generated mutants."""

    def __init__(
        self,
        args: argparse.Namespace,
        ui: Ui,
        pipeline: Pipeline,
        target: Target,
        directory: Path,
    ) -> None:
        self._args, self._ui, self._pipeline = args, ui, pipeline
        self._target, self._directory = target, directory

    def trials(self, generated: Generated, numbers: list[int]) -> Iterator[Trial]:
        """Try mutants, profile by profile; first, side by side, all tests without any of them."""
        by_profile: dict[str, list[int]] = {}
        for number in numbers:
            by_profile.setdefault(generated.profiles[number], []).append(number)
        counting = not self._args.unordered and _COVERAGE in self._pipeline.suite.profiles
        # What the tests reach is asked as well: None. The profile with all checks takes longest.
        asked = [*by_profile, *((None,) if numbers and counting else ())]
        usual = Pace(self._pipeline.store).seconds
        with self._ui.progress(usual, total=len(asked)) as progress:

            def run(profile: str | None) -> _Without:
                return self._without(generated, profile, progress)

            without: dict[str | None, _Without] = {}
            done = side_by_side(asked, run, parallel=parallel_cells(self._args))
            for profile, one_more in zip(asked, done, strict=True):
                without[profile] = one_more
                progress.done()
        reach = self._reach(generated, without[None]) if None in without else {}
        for profile, mine in by_profile.items():
            yield from self._of_profile(generated, without[profile], mine, reach)

    def _without(
        self, generated: Generated, profile: str | None, progress: ProgressDisplay
    ) -> _Without:
        """Run all tests with none of the mutants on.

        :param profile: ``None`` to count which lines each test reaches.
        """
        target = dataclasses.replace(self._target, profile=profile or _COVERAGE)
        name = f"sound-{profile}" if profile else _REACHED
        with progress.lane(name) as say:
            store = Store(self._pipeline.store.root)
            if profile:
                schemata = build_all(generated, target, store, self._directory, say)
                cell = sound_cell(schemata)
            else:
                schemata = Schemata(target=target, wrong={})
                cell = Cell(target=target, judge="desired")
            directory, fresh = self._directory / name, self._args.fresh
            result = run_cell(cell, store=store, directory=directory, progress=say, fresh=fresh)
        build = result.tested().builds[str(target.position)]
        return _Without(schemata=schemata, build=build, result=result)

    def _reach(self, generated: Generated, without: _Without) -> Reach:
        """Return what each test reaches that came to its end on the kernel that counts."""
        found = counted(self._directory / _REACHED, without.build)
        cc = self._pipeline.toolchain.cc
        reach = read_reach(found, generated.sources, generated.at_reboot, cc=cc)
        ended = (
            test.id
            for test in without.result.tests
            if test.outcome in (Outcome.PASSED, Outcome.FAILED)
        )
        return {test: reach.get(test, frozenset()) for test in ended}

    def _of_profile(
        self, generated: Generated, without: _Without, numbers: list[int], reach: Reach
    ) -> Iterator[Trial]:
        store, spec = self._pipeline.store, mutation_of(self._pipeline.suite)
        schemata, sound = without.schemata, without.result
        seconds = seconds_of(sound.tests)
        patch = schemata.target.extra[-1]
        cells: dict[Cell, Mutant] = {}
        for number in numbers:
            mutation = generated.mutations[number]
            first = spec.first_of(mutation.name, mutation.operator)
            tests = reaching_tests(mutation.file, mutation.lines, reach, seconds, first)
            mutant = mutant_of(generated, number, patch, tests)
            if number in schemata.wrong:
                self._ui.out.print(f"{mutation.name} does not compile: {schemata.wrong[number]}")
            elif reach and not tests:
                yield unreached(mutant, sound, self._directory)
            else:
                cells[mutant_cell(schemata, number, tests)] = mutant
        with self._ui.progress(Pace(store).seconds, total=len(cells)) as progress:

            def run(cell: Cell) -> CellResult:
                name = cells[cell].name
                with progress.lane(name) as say:
                    return run_cell(
                        cell,
                        store=Store(store.root),
                        directory=self._directory / name,
                        progress=say,
                        fresh=self._args.fresh,
                    )

            parallel = parallel_cells(self._args)
            for result in run_cells(cells, run, keep_going=True, parallel=parallel):
                progress.done()
                yield judge(cells[result.cell], sound, result, result.seconds)
