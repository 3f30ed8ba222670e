# SPDX-License-Identifier: GPL-2.0-only
"""A store that several machines share (``HARNESS_STORE``): builds, images and results by key.

It is a directory, such as one on NFS, or an address that fsspec knows (``s3://``, ``http://``),
with a tar file for each entry.  The cache looks there for what it has not, and puts there what was
made.  It is never needed: what is wrong with it is a warning.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import json
import logging
import os
import tarfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from harness.base.errors import CacheError
from harness.base.text import path_of

log = logging.getLogger(__name__)

KINDS = ("build", "image", "cell")
"""The entries of the cache that are shared."""

_MANIFEST = "manifest.json"
_CHUNK = 1 << 20


def has(kind: str, key: str) -> bool:
    """Return whether there is a shared store that has an entry."""
    store = _place()
    if store is None or kind not in KINDS:
        return False
    try:
        if isinstance(store, Path):
            return (store / _name(kind, key)).is_file()
        return bool(_fsspec().url_to_fs(store)[0].exists(f"{store}/{_name(kind, key)}"))
    except Exception as error:  # noqa: BLE001 - each file system has errors of its own
        log.warning("HARNESS_STORE: %s", error)
        return False


def fetch(kind: str, key: str, directory: Path) -> None:
    """Unpack an entry into an empty directory, and prove that it is whole.

    :raises CacheError: when it is not, or cannot be read.
    """
    try:
        with _reading(_name(kind, key)) as stream, tarfile.open(fileobj=stream, mode="r|") as tar:
            tar.extractall(directory, filter="data")
        described = json.loads((directory / _MANIFEST).read_text())["files"].items()
        hashes = {file: want["sha256"] for file, want in described}
    except Exception as error:
        raise CacheError(f"HARNESS_STORE: {_name(kind, key)}: {error}") from error
    _prove(hashes, directory, _name(kind, key))
    (directory / _MANIFEST).unlink()


def offer(kind: str, key: str, entry: Path) -> None:
    """Put an entry there, unless it is there or there is no shared store."""
    if kind not in KINDS or _place() is None or has(kind, key):
        return
    try:
        with (
            _writing(_name(kind, key)) as stream,
            tarfile.open(fileobj=stream, mode="w|") as tar,
        ):
            tar.add(entry, arcname=".")
    except Exception as error:  # noqa: BLE001 - as above; a web server takes nothing
        log.warning("HARNESS_STORE: %s/%s is not put there: %s", kind, key, error)


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file's content in hex.

    :raises OSError: when it cannot be read.
    """
    total = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            total.update(chunk)
    return total.hexdigest()


def _prove(hashes: dict[str, str | None], directory: Path, name: str) -> None:
    present = {
        str(path.relative_to(directory))
        for path in directory.rglob("*")
        if path.is_file() and not path.is_symlink()
    } - {_MANIFEST}
    if present != set(hashes):
        raise CacheError(f"HARNESS_STORE: {name} does not hold the files that it names")
    for file, wanted in hashes.items():
        if wanted is not None and file_sha256(directory / file) != wanted:
            raise CacheError(f"HARNESS_STORE: {name}: {file} is not what was put there")


def _place() -> Path | str | None:
    given = os.environ.get("HARNESS_STORE", "").rstrip("/")
    if not given:
        return None
    return given if "://" in given else path_of(given)


def _name(kind: str, key: str) -> str:
    return f"{kind}/{key}.tar"


def _fsspec() -> Any:
    return importlib.import_module("fsspec.core")


@contextlib.contextmanager
def _reading(name: str) -> Iterator[IO[bytes]]:
    store = _place()
    if isinstance(store, Path):
        with (store / name).open("rb") as stream:
            yield stream
        return
    with _fsspec().open(f"{store}/{name}", "rb") as stream:
        yield stream


@contextlib.contextmanager
def _writing(name: str) -> Iterator[IO[bytes]]:
    """Yield what writes a file that appears whole or not at all."""
    store = _place()
    if not isinstance(store, Path):
        with _fsspec().open(f"{store}/{name}", "wb") as stream:
            yield stream
        return
    target = store / name
    target.parent.mkdir(parents=True, exist_ok=True)
    making = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}")
    try:
        with making.open("xb") as stream:
            yield stream
        making.replace(target)
    finally:
        making.unlink(missing_ok=True)
