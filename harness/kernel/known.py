# SPDX-License-Identifier: GPL-2.0-only
"""The kernels that have a name (``kernel-configs/kernels.yaml``), and what of them is here."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from harness.base.errors import KconfigError
from harness.base.spec import KernelSpec, load_kernels
from harness.base.store import Store
from harness.kernel.download import package_places
from harness.kernel.features import symbols_of
from harness.kernel.fragment import loose_requests
from harness.kernel.source import SourceTree, imported_source
from harness.results.pace import builds_in


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownKernel:
    """A kernel with a name.

    :param downloaded: whether its package is here; ``None`` when it is none.
    :param source: its tree in the cache, ``None`` before it was imported or fetched.
    :param built: profiles that a kernel of its version was built with.
    """

    name: str
    spec: KernelSpec
    downloaded: bool | None
    source: SourceTree | None
    built: tuple[str, ...]


def known_kernels(store: Store) -> tuple[KnownKernel, ...]:
    """Return the kernels that have a name, with what of them is here."""
    places = package_places(store)
    builds = [(str(facts["release"]), str(facts["profile"])) for _, facts in builds_in(store)]
    found = []
    for name, spec in load_kernels().items():
        downloaded = None
        if spec.package is not None:
            filename = spec.package.filename
            downloaded = any((place / filename).is_file() for place in places)
        source = imported_source(spec, store)
        start = f"{source.version}-p" if source is not None else None
        built = {
            profile
            for release, profile in builds
            if start is not None and release.startswith(start)
        }
        found.append(
            KnownKernel(
                name=name,
                spec=spec,
                downloaded=downloaded,
                source=source,
                built=tuple(sorted(built)),
            )
        )
    return tuple(found)


def check_names(fragments: Iterable[Path], source: SourceTree, store: Store) -> None:
    """Refuse a name that a fragment allows *source* not to have, and that no known kernel has.

    That can be said when each of the pinned kernels is in the cache; else nothing is said.

    :raises KconfigError: naming file and line of the first.
    """
    requests = loose_requests(fragments)
    missing = {name for request in requests for name in request.names}
    missing -= symbols_of(source, missing)
    if not missing:
        return
    for kernel in known_kernels(store):
        if kernel.source is not None:
            missing -= symbols_of(kernel.source, missing)
        elif kernel.spec.package is not None:
            return
    for request in requests:
        for name in request.names:
            if name in missing:
                raise KconfigError(
                    f"{request.file}:{request.line}: no kernel that is known has a symbol "
                    f"CONFIG_{name}",
                    symbols=(name,),
                    hint="'harness kernels' lists those that were looked through",
                )
