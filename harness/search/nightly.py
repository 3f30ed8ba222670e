# SPDX-License-Identifier: GPL-2.0-only
"""The nightly: several kernels, series and profiles from one file, tested unattended.

Trouble of the runner (a tree that cannot be fetched, a QEMU that does not start) is told apart from
what the kernel did, and what the time did not suffice for is named.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import filelock

from harness.base.errors import (
    ExitCode,
    HarnessError,
    InfrastructureError,
    InputError,
    SpecError,
)
from harness.base.positions import parse_positions
from harness.base.progress import OnProgress, Progress
from harness.base.settings import qemu_from_setting, target_from_settings
from harness.base.spec import load_kernels
from harness.base.store import Store
from harness.base.strict_yaml import Section, read_yaml
from harness.base.suite import Suite, find_suite, load_suite
from harness.base.text import path_of
from harness.kernel.apply import AppliedSeries
from harness.kernel.source import from_local, git, open_source
from harness.results.complaint import Complaint
from harness.results.directory import clear_results, free_name
from harness.results.history import History
from harness.run.cell import Cell, CellResult, inputs_of
from harness.run.executor import RunCell, run_cell
from harness.run.pipeline import Pipeline
from harness.search.matrix import (
    complaints,
    exit_code,
    kinds_of,
    make_cells,
    run_cells,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class NightlyKernel:
    """A kernel to test.

    :param git: a repository (path or address) with *branch*, fetched each night; ``None`` takes
        *path*, then *known*, and without that the suite's kernel.
    :param known: a name of ``kernels.yaml``; a branch there is fetched each night too.
    :param series: what to test on it; ``None`` is what the file says for all.
    """

    name: str
    git: str | None = None
    branch: str | None = None
    path: Path | None = None
    known: str | None = None
    series: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NightlySpec:
    """What ``nightly.yaml`` asks for.

    :param budget_s: seconds after which no further cell is begun.
    :param keep: runs that stay in the history.
    :param series: ``shipped``, ``none``, or where patches are.
    :param qemu: another QEMU than the one on ``PATH``, for the suite's architecture or the host's;
        ``None`` for that.
    :param positions: such as ``0..11``; ``None`` is all that differ.
    """

    suite: Suite
    kernels: tuple[NightlyKernel, ...]
    series: tuple[str, ...]
    profiles: tuple[str, ...]
    positions: str | None
    accel: str
    pytest_args: tuple[str, ...]
    budget_s: float
    keep: int
    qemu: Path | None = None


Lane = Callable[[str], contextlib.AbstractContextManager[OnProgress]]
"""Gives, by its name, one of several things under way a line of its own."""


@dataclass(slots=True)
class Part:
    """One kernel with one series: what came of it.

    :param trouble: why there is no matrix, or why it ended early; empty when all went well.
    :param applied: ``None`` when the series could not be had.
    :param planned: how many cells there are.
    :param kinds: their profiles, with architectures (:attr:`harness.base.spec.Target.kind`).
    :param unreached: cells that the time did not suffice for.
    """

    name: str
    directory: Path
    trouble: str = ""
    bad_input: bool = False
    applied: AppliedSeries | None = None
    planned: int = 0
    kinds: tuple[str, ...] = ()
    results: list[CellResult] = field(default_factory=list)
    unreached: list[Cell] = field(default_factory=list)
    already: tuple[int, ...] = ()

    @property
    def complaints(self) -> list[Complaint]:
        """Everything that nobody expected."""
        return [item for result in self.results for item in complaints(result)]

    @property
    def code(self) -> ExitCode:
        """What this part alone would exit with."""
        code = exit_code(self.results)
        if code is ExitCode.TESTS_FAILED:
            return code
        if self.trouble:
            return ExitCode.TESTS_FAILED if self.bad_input else ExitCode.INFRASTRUCTURE
        return code


OnCell = Callable[[Part, CellResult], None]
"""Told of a part, and of the cell that was added to it."""


def read_nightly(file: Path) -> NightlySpec:
    """Read ``nightly.yaml``.

    :raises SpecError: naming file and line of what is wrong.
    """
    with read_yaml(file, "nightly") as top:
        names = top.texts("series", ("shipped",))
        profiles = top.texts("profiles", ("default",))
        suite = load_suite(find_suite(_below(file, top.value("suite", str, None))))
        for name in profiles:
            suite.check_kind(name)
        kernels = []
        with top.section("kernels") as section:
            for name in section.keys():  # noqa: SIM118 - a Section is no dict
                with section.section(name) as item:
                    kernels.append(_kernel(name, item, file))
        if not kernels:
            raise top.error("kernels", "no kernel is named")
        return NightlySpec(
            suite=suite,
            kernels=tuple(kernels),
            series=names,
            profiles=profiles,
            positions=top.value("positions", str, None),
            accel=top.value("accel", str, "auto"),
            pytest_args=top.texts("pytest_args", ()),
            budget_s=60.0 * top.value("budget_minutes", (int, float), 480),
            keep=top.value("keep", int, 1000),
            qemu=_qemu(top, file),
        )


def _qemu(top: Section, file: Path) -> Path | None:
    text: str | None = top.value("qemu", str, None)
    try:
        return qemu_from_setting(_below(file, text) if text and "/" in text else text)
    except SpecError as error:
        raise top.error("qemu", f"qemu: {error.message}") from error


def _below(file: Path, text: str | None) -> str | None:
    """Return a path that *file* names, as seen from here."""
    return None if text is None else str(file.parent / path_of(text))


def _kernel(name: str, item: Section, file: Path) -> NightlyKernel:
    source, branch = item.value("git", str, None), item.value("branch", str, None)
    path = _below(file, item.value("path", str, None))
    package = item.value("package", str, None)
    known = item.value("name", str, None)
    if sum(value is not None for value in (source, path, package, known)) != 1:
        raise SpecError(
            f"{file}: kernel {name!r} has to say one of git, path, name and package",
            hint="package: pinned is the kernel that the shipped series was made for",
        )
    if known is not None and known not in load_kernels():
        raise item.error("name", f"there is no kernel {known!r}", hint="see 'harness kernels'")
    if package not in (None, "pinned"):
        raise item.error("package", f"there is no package {package!r}", hint="known: pinned")
    if (source is None) != (branch is None):
        raise item.error("git" if source else "branch", "git and branch go together")
    return NightlyKernel(
        name=name,
        git=source,
        branch=branch,
        path=Path(path).resolve() if path is not None else None,
        known=known,
        series=item.texts("series", ()) or None,
    )


@contextlib.contextmanager
def only_one(store: Store) -> Iterator[None]:
    """Hold the lock of the nightly.

    :raises InfrastructureError: when another nightly is under way.
    """
    lock = filelock.FileLock(store.root / "locks" / "nightly.lock")
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        raise InfrastructureError(
            "another nightly is under way", hint="they share caches and CPUs: let it end"
        ) from None
    try:
        yield
    finally:
        lock.release()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Night:
    """What all parts of one nightly share; see :func:`run_nightly`.

    :param deadline: on the clock of :func:`time.monotonic`; no cell is begun after it.
    """

    spec: NightlySpec
    store: Store
    progress: OnProgress
    parallel: int
    deadline: float
    on_cell: OnCell
    lane: Lane | None
    run_cell: RunCell

    def run(self, cell: Cell, part: Part) -> CellResult:
        """Run a cell, with a line of its own where there are such."""
        store, directory = Store(self.store.root), part.directory / cell.name
        if self.lane is None:
            return self.run_cell(cell, store=store, directory=directory, progress=self.progress)
        with self.lane(f"{part.name} {cell.name}") as say:
            return self.run_cell(cell, store=store, directory=directory, progress=say)


def run_nightly(
    spec: NightlySpec,
    store: Store,
    directory: Path,
    progress: OnProgress,
    *,
    parallel: int,
    on_cell: OnCell = lambda _part, _result: None,
    lane: Lane | None = None,
    run: RunCell = run_cell,
) -> list[Part]:
    """Run everything that *spec* asks for, as far as the time goes.

    :param directory: gets a results directory for each kernel and series.
    :param on_cell: told of each cell as it ends: the next one may be the last.
    :param lane: shows one of several cells that are under way; ``None``: *progress* tells of all.
    :param run: what runs cells.
    """
    night = _Night(
        spec=spec,
        store=store,
        progress=progress,
        parallel=parallel,
        deadline=time.monotonic() + spec.budget_s,
        on_cell=on_cell,
        lane=lane,
        run_cell=run,
    )
    parts: list[Part] = []
    for kernel in spec.kernels:
        for series in kernel.series or spec.series:
            taken = {part.name for part in parts}
            name = free_name(f"{kernel.name}-{Path(series).stem}", taken)
            part = Part(name=name, directory=directory / name)
            parts.append(part)
            try:
                _run_part(part, kernel, series, night)
            except InputError as error:
                part.trouble, part.bad_input = error.message, True
            except HarnessError as error:
                part.trouble = error.message
    try:
        with History() as history:
            history.prune(spec.keep)
    except HarnessError as error:
        _untold(parts[-1], error)
    return parts


def _untold(part: Part, error: HarnessError) -> None:
    """Note that the history does not take a part's runs: what they found is right all the same."""
    part.trouble = part.trouble or f"the history: {error.message}"


def _run_part(part: Part, kernel: NightlyKernel, series: str, night: _Night) -> None:
    spec = night.spec
    part.directory.mkdir(parents=True, exist_ok=True)
    clear_results(part.directory)
    settings = {
        "suite": str(spec.suite.root),
        "accel": spec.accel,
    }
    if spec.qemu is not None:
        settings["qemu"] = str(spec.qemu)
    if series != "shipped":
        settings["series"] = series
    if kernel.git is not None:
        settings["kernel"] = str(_fetched(kernel, night.store, night.progress))
        settings["base"] = "refs/heads/nightly"
    elif kernel.path is not None:
        settings["kernel"] = str(kernel.path)
    elif kernel.known is not None:
        settings["kernel"] = kernel.known
    target = target_from_settings(settings.get)
    if target.kernel.git is not None:
        open_source(target.kernel, night.store, progress=night.progress, update=True)
    pipeline = Pipeline(target, night.store, night.progress)
    if night.run_cell is run_cell:
        pipeline.check_machine()
    applied = part.applied = pipeline.applied
    part.already = tuple(p.number for p in applied.positions if p.already)
    positions = parse_positions(spec.positions, applied.last, applied.worth)
    cells = make_cells(pipeline.target, positions, spec.profiles, pytest_args=spec.pytest_args)
    part.planned, part.kinds = len(cells), kinds_of(cells)

    for result in run_cells(
        cells,
        lambda cell: night.run(cell, part),
        keep_going=True,
        parallel=night.parallel,
        deadline=night.deadline,
    ):
        part.results.append(result)
        try:
            _remember(spec, result)
        except HarnessError as error:
            _untold(part, error)
        night.on_cell(part, result)
    done = {result.cell for result in part.results}
    part.unreached = [cell for cell in cells if cell not in done]


def _remember(spec: NightlySpec, result: CellResult) -> None:
    if result.results is not None and not result.cached:
        with History() as history:
            history.add_run(
                result.results,
                directory=result.directory,
                inputs=inputs_of(result.results, spec.suite),
                kind="nightly",
            )


def _fetched(kernel: NightlyKernel, store: Store, progress: OnProgress) -> Path:
    """Return a repository whose branch ``nightly`` is the newest state of the kernel's branch.

    :raises InfrastructureError: when it cannot be fetched.
    """
    assert kernel.git is not None  # noqa: S101 - the caller asked
    repository = store.root / "work" / f"nightly-{kernel.name}"
    progress(Progress(kernel.name, f"fetching {kernel.branch} of {kernel.git}"))
    with store.lock(repository.name):
        store.work(repository.name)
        if not (repository / "HEAD").exists():
            git(repository, "init", "--quiet", "--bare")
        local = path_of(kernel.git)
        done = git(
            repository,
            *("fetch", "--quiet", "--force", "--no-tags", "--depth=1000"),
            *(from_local(local) if local.is_dir() else ()),
            str(local) if local.exists() else kernel.git,
            f"refs/heads/{kernel.branch}:refs/heads/nightly",
            check=False,
        )
    if done.returncode != 0:
        said = [line for line in done.stderr.splitlines() if line.startswith("fatal: ")]
        why = said[0].removeprefix("fatal: ") if said else "git does not say why"
        raise InfrastructureError(f"cannot fetch {kernel.branch} of {kernel.git}: {why}")
    return repository


def nightly_code(parts: Sequence[Part]) -> ExitCode:
    """Return what the nightly exits with: a verdict weighs more than trouble of the runner."""
    codes = {part.code for part in parts}
    for code in (ExitCode.TESTS_FAILED, ExitCode.INFRASTRUCTURE):
        if code in codes:
            return code
    return ExitCode.PASSED
