# SPDX-License-Identifier: GPL-2.0-only
"""A cell on its way to a worker and back: plain data, by content.

No path of the one machine means anything on the other.  The kernel that is pinned by content, and
the suite, a worker has itself; a tree and patches of the user's are sent along.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.base.errors import ExitCode, HarnessError, InfrastructureError, InputError
from harness.base.store import digest
from harness.cluster.transfer import Listed, Parcel
from harness.run.cell import Cell, CellResult
from harness.run.pipeline import Pipeline

Files = tuple[tuple[str, bytes], ...]
"""Names, and what is in them."""

_SERIES = "series"
_EXTRA = "extra"


@dataclass(frozen=True, slots=True, kw_only=True)
class SentTree:
    """A kernel tree at one commit, without what came before it, as a git bundle.

    :param thin: whether what the suite's pinned kernel has is left out.
    """

    commit: str
    parcel: Parcel
    thin: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A cell for a worker.

    :param cell: as it was asked for; what its paths name is sent, or the worker's own.
    :param version: what judges, see :func:`harness.cluster.version.version_of`.
    :param tree: ``None`` when the kernel is pinned by content.
    :param files: a key of the files that are sent along.
    :param series: the name of the series among the files; empty when it is the suite's own, which a
        worker has, and ``None`` without one.
    :param extra: the names of the further patches.
    :param commit: what has to come out of tree, series and patches; ``None`` when they do not
        apply.
    :param topic: where Dask tells of its progress.
    :param deadline_s: seconds from its start to its end.
    """

    cell: Cell
    version: str
    tree: SentTree | None
    files: str
    series: str | None
    extra: tuple[str, ...]
    commit: str | None
    topic: str
    deadline_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """An error of a worker, for the one who asked."""

    bad_input: bool
    message: str
    hint: str | None

    @classmethod
    def of(cls, error: HarnessError) -> Trouble:
        """Return what is to be said of an error."""
        return cls(
            bad_input=error.exit_code is ExitCode.BAD_INPUT, message=error.message, hint=error.hint
        )

    def error(self, worker: str) -> HarnessError:
        """Return it as an error of ours."""
        kind = InputError if self.bad_input else InfrastructureError
        return kind(f"{self.message} (on {worker})", hint=self.hint)


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """A kernel in a worker's cache.

    :param worker: that worker's name.
    :param address: where Dask reaches it.
    :param seconds: see :class:`harness.run.cell.CellBuild`.
    :param files: what it is made of.
    """

    key: str
    worker: str
    address: str
    seconds: float
    cached: bool
    files: tuple[Listed, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What became of a cell on a worker.

    :param result: ``None`` when there is none, but trouble.
    :param directory: results and logs, there; they are gone when Dask forgets the answer.
    :param files: what is in it.
    :param paths: what is called differently here: the worker's cache and suite.
    """

    result: CellResult | None
    trouble: Trouble | None
    worker: str
    address: str
    directory: Path
    files: tuple[Listed, ...]
    paths: Mapping[str, Path]


# -- what is sent along --------------------------------------------------------------------


def sent_files(pipeline: Pipeline) -> tuple[Files, str | None, tuple[str, ...]]:
    """Return the files of a cell's series and further patches, and what they are called.

    The suite's own series is not among them: it is part of what has to be the same.
    """
    files: list[tuple[str, bytes]] = []
    series, target = pipeline.series, pipeline.target
    name = "" if series is not None else None
    if series is not None and target.series != pipeline.suite.series:
        path = Path(str(target.series))
        name = f"{_SERIES}/{path.name if path.exists() else _SERIES}"
        if not path.exists():
            # As mails, wherever they came from.
            cover = f"Subject: [PATCH v{series.version} 0/{len(series.patches)}] {series.title}"
            if series.cover is not None:
                files.append((f"{name}/0000.patch", f"{cover}\n\n{series.cover}".encode()))
            files += [(f"{name}/{patch.number:04}.patch", patch.mail) for patch in series.patches]
        else:
            files += _files_of(path, name)
    names = [f"{_EXTRA}/{number}-{path.name}" for number, path in enumerate(target.extra)]
    for path, inside in zip(target.extra, names, strict=True):
        files += _files_of(path, inside)
    return tuple(files), name, tuple(names)


def _files_of(path: Path, name: str) -> list[tuple[str, bytes]]:
    if not path.is_dir():
        return [(name, path.read_bytes())]
    found = (child for child in sorted(path.rglob("*")) if child.is_file())
    return [(f"{name}/{child.relative_to(path)}", child.read_bytes()) for child in found]


def files_key(files: Files) -> str:
    """Return what files are known by."""
    return digest("files", *(part for name, data in files for part in (name, data.hex())))


def without_paths(cell: Cell) -> Cell:
    """Return a cell without what is for the machine alone that asks."""
    target = dataclasses.replace(
        cell.target,
        suite=Path(),
        series=None,
        extra=(),
        jobs=None,
        qemu=None,
    )
    return dataclasses.replace(cell, target=target)
