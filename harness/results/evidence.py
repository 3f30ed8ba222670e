# SPDX-License-Identifier: GPL-2.0-only
"""What results directories hold, read back: runs, matrices, nightlies and collections of them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.base.errors import SpecError
from harness.results.compat import FILE as COMPAT
from harness.results.compat import read_compat
from harness.results.complaint import Complaint, complaints_about
from harness.results.form import from_plain
from harness.results.results import RunResults, TestResult, read_results

TESTED = "tested"
"""The status of a cell whose tests ran (:class:`harness.run.cell.CellStatus`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kernel:
    """One kernel and what became of it.

    :param base: the commit before any patch.
    :param series: the series' name, ``None`` without one.
    :param subject: of the last patch applied.
    :param status: how far it came, as ``matrix.json`` says it.
    :param message: why it came no farther; empty when the tests ran.
    :param build: ``ok``, ``failed`` or ``none``.
    :param boot: what became of its first boot (:class:`harness.results.results.Boot`); empty when
        it is not known, as for a run.
    :param results: ``None`` when the tests did not run.
    :param wrong: what nobody expected.
    """

    position: int
    profile: str
    base: str
    series: str | None
    subject: str
    status: str
    message: str
    build: str
    boot: str
    directory: Path
    results: RunResults | None
    wrong: tuple[Complaint, ...]

    @property
    def findings(self) -> tuple[TestResult, ...]:
        """What its tests found beyond the promise of the series, the weightiest first."""
        return self.results.findings if self.results is not None else ()

    @property
    def tests(self) -> tuple[TestResult, ...]:
        """The tests' results, none when they did not run."""
        return self.results.tests if self.results is not None else ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """One results directory.

    :param name: its path below the directory that was asked for; empty for that itself.
    :param text: what the nightly said of it, or what pairs of kernels came to; else ``None``.
    """

    name: str
    kernels: tuple[Kernel, ...]
    text: str | None = None


def read_evidence(directory: Path) -> tuple[Evidence, ...]:
    """Read every results directory that *directory* is or holds, in the order of their names.

    :raises SpecError: when there is none, or a damaged one.
    """
    found = list(_search(directory, directory))
    if not found:
        raise SpecError(
            f"{directory} holds no results",
            hint="give a directory below results/, such as results/latest",
        )
    return tuple(found)


def _search(directory: Path, top: Path) -> Iterator[Evidence]:
    name = "" if directory == top else str(directory.relative_to(top))
    matrix, run, text = (directory / n for n in ("matrix.json", "results.json", "summary.txt"))
    if text.exists():
        yield Evidence(name=name, kernels=(), text=text.read_text(errors="replace"))
    if (directory / COMPAT).exists():
        # Its runs are not of one kernel each, and a refusal there is no failure.
        yield Evidence(name=name, kernels=(), text=read_compat(directory / COMPAT).summary + "\n")
    elif matrix.exists():
        yield Evidence(name=name, kernels=_of_matrix(matrix))
    elif run.exists():
        yield Evidence(name=name, kernels=(_of_run(run),))
    elif directory.is_dir():
        for child in sorted(directory.iterdir()):
            if child.is_dir() and not child.is_symlink():
                yield from _search(child, top)


def _of_run(path: Path) -> Kernel:
    results = read_results(path)
    series = results.series
    return Kernel(
        position=series.position,
        profile=results.profile,
        base=results.kernel.base,
        series=series.name,
        subject=series.subject,
        status=TESTED,
        message="",
        build="ok",
        boot="",
        directory=path.parent,
        results=results,
        wrong=tuple(
            complaints_about(
                results.tests,
                results.judge,
                position=series.position,
                profile=results.profile,
                directory=path.parent,
            )
        ),
    )


def _of_matrix(path: Path) -> tuple[Kernel, ...]:
    try:
        data = json.loads(path.read_text())
        return tuple(_of_cell(item, data, path.parent) for item in data["positions"])
    except OSError as error:
        raise SpecError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise SpecError(f"{path}: not what the harness wrote: {error}") from error


def _of_cell(item: Mapping[str, Any], data: Mapping[str, Any], directory: Path) -> Kernel:
    # The directory may have been carried here from another machine.
    here = directory / Path(item["directory"]).name
    results = here / "results.json"
    own = [w for w in data["unexpected"] if _place(w) == _place(item)]
    return Kernel(
        position=item["position"],
        profile=item["profile"],
        base=data["base"],
        series=data["series"],
        subject=item["subject"],
        status=item["status"],
        message=item["message"],
        build=item["build"]["status"],
        boot=item["boot"]["status"] or "",
        directory=here,
        results=read_results(results) if results.exists() else None,
        wrong=tuple(from_plain(Complaint, item) for item in own),
    )


def _place(item: Mapping[str, Any]) -> tuple[int, str]:
    return item["position"], item["profile"]
