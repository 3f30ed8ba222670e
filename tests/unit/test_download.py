# SPDX-License-Identifier: GPL-2.0-only
"""A pinned package is the pinned one, wherever it comes from; what is none is not kept."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import http.server
import os
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from trees import FILES, left, opened, tarball, write

from harness.base.errors import DownloadError, SourceError
from harness.base.room import make_room
from harness.base.spec import PackageSpec
from harness.base.store import Store
from harness.kernel.download import fetch_package


@pytest.fixture
def package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[dict[str, str]], PackageSpec]:
    """Make a source package in a download directory, and the spec that pins it."""
    downloads = tmp_path / "downloads"
    downloads.mkdir()
    monkeypatch.setenv("HARNESS_DOWNLOADS", str(downloads))

    def make(files: dict[str, str]) -> PackageSpec:
        root = tmp_path / "package"
        (root / "usr/src").mkdir(parents=True)
        tarball(tmp_path, files).rename(root / "usr/src/linux-source-7.1.tar.xz")
        control = "Package: linux-source-7.1\nVersion: 1\nArchitecture: all\n"
        control += "Maintainer: A <a@example.com>\nDescription: tiny\n"
        write(root, {"DEBIAN/control": control})
        path = downloads / "linux-source-7.1_1_all.deb"
        subprocess.run(["dpkg-deb", "-b", root, path], check=True, capture_output=True)
        data = path.read_bytes()
        return PackageSpec(
            name="linux-source-7.1",
            version="1",
            filename=path.name,
            sha256=hashlib.sha256(data).hexdigest(),
            size_bytes=len(data),
            pool=f"pool/main/l/linux/{path.name}",
        )

    return make


Package = Callable[[dict[str, str]], PackageSpec]


def test_package_becomes_a_tree(store: Store, package: Package) -> None:
    source = opened(store, package=package(FILES))
    assert (source.version, source.label) == ("7.1.3-rc2", "linux-source-7.1 1")


def test_package_file_as_path_is_the_same_tree(
    store: Store, package: Package, tmp_path: Path
) -> None:
    pinned = package(FILES)
    path = tmp_path / "downloads" / pinned.filename
    assert opened(store, path=path).base == opened(store, package=pinned).base


def damaged(path: Path, how: str) -> None:
    data = path.read_bytes()
    path.write_bytes(data[:-1] + b"\xff" if how == "changed" else data[:-7])


@pytest.mark.parametrize(("how", "said"), [("changed", "has SHA-256"), ("short", "bytes, ")])
def test_package_with_other_content_is_refused_and_not_kept(
    store: Store, package: Package, tmp_path: Path, how: str, said: str
) -> None:
    pinned = package(FILES)
    damaged(tmp_path / "downloads" / pinned.filename, how)
    with pytest.raises(DownloadError, match=rf"{pinned.filename} .*{said}") as caught:
        opened(store, package=pinned)
    assert "run again" in (caught.value.hint or "")
    assert left(store) == []
    assert list(store.root.glob("objects/*/*")) == []


def test_package_changed_after_it_was_checked_is_refused(
    store: Store, package: Package, tmp_path: Path
) -> None:
    pinned = package(FILES)
    opened(store, package=pinned)
    damaged(tmp_path / "downloads" / pinned.filename, "changed")
    with pytest.raises(DownloadError, match="has SHA-256"):
        opened(store, package=pinned)


def test_package_without_a_tarball_is_refused(store: Store, tmp_path: Path) -> None:
    control = "Package: x\nVersion: 1\nArchitecture: all\nMaintainer: A <a@example.com>\n"
    root = write(tmp_path / "package", {"DEBIAN/control": f"{control}Description: x\n"})
    subprocess.run(["dpkg-deb", "-b", root, tmp_path / "x.deb"], check=True, capture_output=True)
    with pytest.raises(SourceError, match=r"x\.deb holds no usr/src/linux-source"):
        opened(store, path=tmp_path / "x.deb")
    assert left(store) == []


def test_package_that_is_none_is_refused(store: Store, tmp_path: Path) -> None:
    (tmp_path / "x.deb").write_text("<html>not found</html>\n")
    with pytest.raises(SourceError, match=r"x\.deb is not a whole Debian package"):
        opened(store, path=tmp_path / "x.deb")
    assert left(store) == []


def test_package_that_no_mirror_has_says_where_to_put_it(
    store: Store, package: Package, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pinned = package(FILES)
    (tmp_path / "downloads" / pinned.filename).unlink()
    programs = write(tmp_path / "bin", {"apt-get": "#!/bin/sh\necho file:/nowhere/\n"})
    (programs / "apt-get").chmod(0o755)
    monkeypatch.setenv("PATH", str(programs), prepend=":")
    with pytest.raises(DownloadError, match=f"cannot download {pinned.filename}") as caught:
        opened(store, package=pinned)
    assert "HARNESS_DOWNLOADS" in (caught.value.hint or "")
    assert list((store.root / "downloads").iterdir()) == []


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves files and says nothing."""

    def log_message(self, *_args: object) -> None:
        """Say nothing."""


@pytest.mark.parametrize("place", ["HARNESS_MIRRORS", "urls"])
def test_package_that_no_mirror_of_apt_has_comes_from_further_places(
    store: Store, package: Package, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    pinned = package(FILES)
    there = tmp_path / "served" / "pool" / pinned.filename
    there.parent.mkdir(parents=True)
    (tmp_path / "downloads" / pinned.filename).rename(there)
    (tmp_path / "served" / "other.deb").write_bytes(there.read_bytes()[:-1] + b"?")
    programs = write(tmp_path / "bin", {"apt-get": "#!/bin/sh\necho file:/nowhere/\n"})
    (programs / "apt-get").chmod(0o755)
    monkeypatch.setenv("PATH", str(programs), prepend=":")
    handler = functools.partial(Quiet, directory=str(tmp_path / "served"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        pinned = dataclasses.replace(pinned, pool=f"pool/{pinned.filename}")
        if place == "urls":
            # The first of them has another file of that size: the next one is asked.
            urls = (f"{url}/other.deb", f"{url}/pool/{pinned.filename}")
            pinned = dataclasses.replace(pinned, urls=urls)
        else:
            monkeypatch.setenv("HARNESS_MIRRORS", f"file:/absent {url}/")
        try:
            assert opened(store, package=pinned).version == "7.1.3-rc2"
        finally:
            server.shutdown()


def test_download_of_the_cache_is_in_use_and_stays_verified(
    store: Store, package: Package, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pinned = package(FILES)
    monkeypatch.delenv("HARNESS_DOWNLOADS", raising=False)
    (tmp_path / "downloads").rename(store.root / "downloads")
    path = store.root / "downloads" / pinned.filename
    os.utime(path, (100, 100))
    said: list[str] = []
    for _ in range(2):
        fetch_package(pinned, store, lambda progress: said.append(str(progress.stage)))
        assert path.stat().st_atime > 100
    assert said == [f"checking {pinned.filename}"]
    other = Store(store.root, room="0")
    make_room(other)
    assert path.exists()
    store.let_go(path)
    make_room(other)
    assert not path.exists()


def test_room_is_made_when_an_archive_was_imported(
    store: Store, package: Package, monkeypatch: pytest.MonkeyPatch
) -> None:
    pinned = package(FILES)
    old = Store(store.root).work("old")
    monkeypatch.setenv("HARNESS_ROOM", "0")
    assert opened(store, package=pinned).repo.exists()
    assert not old.exists()
