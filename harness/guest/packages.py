# SPDX-License-Identifier: GPL-2.0-only
"""Debian packages that a guest's programs come from, unpacked; apt needs no root to fetch them."""

from __future__ import annotations

import tempfile
from pathlib import Path

from harness.base import command
from harness.base.arch import Architecture
from harness.base.errors import CommandError, DownloadError
from harness.base.progress import Count, OnProgress, Progress
from harness.base.spec import ImageSpec, download_directories
from harness.base.store import Store, digest
from harness.base.timeouts import HOST


def fetch_packages(
    spec: ImageSpec, *, arch: Architecture, store: Store, progress: OnProgress
) -> Path:
    """Fetch and unpack the recipe's Debian packages; return the tree they make.

    They come from the download directories, else from where apt is configured to get them; apt
    needs no root to download.  Fetched once per host release and list of packages.

    :raises DownloadError: when one cannot be had.
    """
    release = Path("/etc/os-release").read_text() if Path("/etc/os-release").exists() else ""
    key = digest("packages", arch.debian, *spec.packages, release)

    def make(directory: Path) -> None:
        _download_and_unpack(spec, arch, directory, progress)

    return store.get_or_make("packages", key, make, waiting="it fetches packages") / "tree"


def _download_and_unpack(
    spec: ImageSpec, arch: Architecture, directory: Path, progress: OnProgress
) -> None:
    tree = directory / "tree"
    tree.mkdir()
    # Here and not in /tmp: what a killed process leaves in the cache is cleared away.
    with tempfile.TemporaryDirectory(prefix="download-", dir=directory) as name:
        for number, choices in enumerate(spec.packages, 1):
            count = Count(done=number, total=len(spec.packages), unit="packages")
            progress(Progress("image", choices, count))
            package = _local_package(choices, arch) or _download(choices, arch, Path(name))
            command.run(["dpkg-deb", "-x", package, tree], timeout_s=HOST.file_s)


def _local_package(choices: str, arch: Architecture) -> Path | None:
    for choice in choices.split("|"):
        for directory in download_directories():
            found = sorted(directory.glob(f"{choice.strip()}_*_{arch.debian}.deb"))
            if found:
                return found[-1]
    return None


def _lists(arch: Architecture, directory: Path) -> tuple[str, ...]:
    """Have lists of another architecture's packages in *directory*; return apt's options for them.

    apt and dpkg of the host do not come to know the architecture: the lists are fetched anew, from
    where the host's apt is configured to get its own, and nothing is installed.

    :returns: no options for the host's architecture, whose lists are there.
    :raises DownloadError: when the lists cannot be had.
    """
    if arch.is_host:
        return ()
    lists, cache = directory / "lists", directory / "cache"
    for made in (lists / "partial", cache / "archives" / "partial"):
        made.mkdir(parents=True, exist_ok=True)
    settings = (
        *(f"APT::Architecture={arch.debian}", f"APT::Architectures={arch.debian}"),
        *(f"Dir::State::Lists={lists}", f"Dir::Cache={cache}"),
        *("Dir::State::status=/dev/null", "APT::Sandbox::User="),
    )
    options = tuple(word for each in settings for word in ("-o", each))
    if not (directory / "fetched").exists():
        try:
            command.run(["apt-get", "-q", *options, "update"], timeout_s=HOST.package_s)
        except CommandError as error:
            raise DownloadError(
                f"cannot fetch the lists of packages for {arch.debian}: {error.message}",
                hint="put the packages of the image into a directory of HARNESS_DOWNLOADS",
            ) from error
        (directory / "fetched").touch()
    return options


def _download(choices: str, arch: Architecture, directory: Path) -> Path:
    said = ""
    options = _lists(arch, directory)
    for choice in choices.split("|"):
        name = choice.strip()
        try:
            command.run(
                ["apt-get", "-q", *options, "download", f"{name}:{arch.debian}"],
                cwd=directory,
                timeout_s=HOST.package_s,
            )
        except CommandError as error:
            said = error.message
            continue
        return max(directory.glob(f"{name}_*.deb"))
    raise DownloadError(
        f"cannot fetch the package {choices}: {said}",
        hint="run 'apt-get update' as root, or put the .deb into a directory of HARNESS_DOWNLOADS",
    )
