# SPDX-License-Identifier: GPL-2.0-only
"""Pinned packages: found in directories or fetched from mirrors, and proven to be what they say."""

from __future__ import annotations

import os
import time
import urllib.error
import urllib.request
from pathlib import Path

from harness.base import command
from harness.base.errors import CommandError, DownloadError
from harness.base.progress import Count, OnProgress, Progress
from harness.base.spec import PackageSpec, download_directories
from harness.base.store import Store, digest, file_sha256
from harness.base.timeouts import HOST
from harness.base.trouble import trouble_of_host

_CHUNK = 1 << 20


def package_places(store: Store) -> tuple[Path, ...]:
    """Return the directories in which packages lie that were downloaded."""
    return (*download_directories(), store.root / "downloads")


def fetch_package(package: PackageSpec, store: Store, progress: OnProgress) -> Path:
    """Return the pinned file, from the download directories or else from apt's mirrors.

    :raises DownloadError: when it cannot be had, or is not the pinned one.
    :raises InfrastructureError: when the disk is full.
    """
    for directory in package_places(store):
        path = directory / package.filename
        if path.is_file():
            _hold(path, store)
            _verify(path, package, store, progress)
            return path
    with store.lock("downloads", waiting=f"it downloads {package.filename}"):
        directory = store.root / "downloads"
        directory.mkdir(exist_ok=True)
        target = directory / package.filename
        if not target.is_file():
            _download(package, target, progress)
        _hold(target, store)
        return target


def _hold(path: Path, store: Store) -> None:
    """Say that a file is in use, and that it was used, if it is the cache's."""
    if path.parent == store.root / "downloads" and store.hold(path):
        # The other time is what a file that was verified is known by.
        os.utime(path, ns=(time.time_ns(), path.stat().st_mtime_ns))


def _verify(path: Path, package: PackageSpec, store: Store, progress: OnProgress) -> None:
    """Compare size and hash; a file that was verified once is known by size and time."""
    stat = path.stat()
    key = digest("verified", path.resolve().as_posix(), stat.st_size, stat.st_mtime_ns)
    if stat.st_size != package.size_bytes:
        raise DownloadError(
            f"{path} has {stat.st_size} bytes, {package.name} {package.version} has "
            f"{package.size_bytes}",
            hint="the download was cut short? remove the file and run again",
        )

    def make(directory: Path) -> None:
        progress(Progress(f"checking {path.name}"))
        found = file_sha256(path)
        if found != package.sha256:
            raise DownloadError(
                f"{path} has SHA-256 {found}, not {package.sha256}",
                hint="it is not the pinned file; remove it and run again",
            )
        (directory / "path").write_text(f"{path}\n")

    store.get_or_make("verified", key, make, waiting=f"it checks {path.name}")


def _download(package: PackageSpec, target: Path, progress: OnProgress) -> None:
    """Get a package from the first place that has it as it is pinned."""
    part = target.with_name(f".{target.name}.part")
    asked = []
    try:
        for url in _places(package):
            try:
                _copy_url(url, part, package, progress)
            except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
                asked.append(f"{url}: {error}")
                continue
            except OSError as error:
                trouble = trouble_of_host(error)
                if trouble is not None:
                    raise trouble from error
                asked.append(f"{url}: {error}")
                continue
            found = file_sha256(part)
            if found == package.sha256:
                part.replace(target)
                return
            asked.append(f"{url}: what came has SHA-256 {found}")
    finally:
        part.unlink(missing_ok=True)
    said = "\n  ".join(asked) if asked else "apt has no mirror configured"
    raise DownloadError(
        f"cannot download {package.filename}:\n  {said}",
        hint="put the file into a directory and name that in HARNESS_DOWNLOADS, or name another "
        "mirror in HARNESS_MIRRORS",
    )


def _places(package: PackageSpec) -> list[str]:
    """Return where a package may be: apt's mirrors, ``HARNESS_MIRRORS``, and its own URLs."""
    mirrors = [*_mirrors(), *os.environ.get("HARNESS_MIRRORS", "").split()]
    return [*(f"{mirror.rstrip('/')}/{package.pool}" for mirror in mirrors), *package.urls]


def _copy_url(url: str, part: Path, package: PackageSpec, progress: OnProgress) -> None:
    if not url.startswith(("http://", "https://")):
        raise urllib.error.URLError(f"not a web mirror: {url}")
    done, last = 0, 0.0
    with urllib.request.urlopen(url, timeout=HOST.silence_s) as stream, part.open("wb") as out:  # noqa: S310
        while chunk := stream.read(_CHUNK):
            out.write(chunk)
            done += len(chunk)
            if time.monotonic() - last > 2.0:
                last = time.monotonic()
                count = Count(done=done >> 20, total=package.size_bytes >> 20, unit="MiB")
                progress(Progress(f"downloading {package.filename}", count=count))
    if done != package.size_bytes:
        raise urllib.error.ContentTooShortError(f"{done} of {package.size_bytes} bytes", ("", None))  # type: ignore[arg-type]


def _mirrors() -> list[str]:
    """Ask apt where it gets packages from; pools are shared by all releases of an archive."""
    try:
        text = command.run(
            ["apt-get", "indextargets", "--format", "$(REPO_URI)"], timeout_s=HOST.tool_s
        ).stdout
    except CommandError as error:
        raise DownloadError(
            f"cannot ask apt for its mirrors: {error.message}",
            hint="put the package into a directory and name that in HARNESS_DOWNLOADS",
        ) from error
    return list(dict.fromkeys(line.strip() for line in text.splitlines() if line.strip()))
