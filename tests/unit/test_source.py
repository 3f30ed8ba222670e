# SPDX-License-Identifier: GPL-2.0-only
"""A kernel tree comes from git, a tarball or a package; what is none is refused and not kept."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import http.server
import shutil
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.base.errors import CacheError, DownloadError, SourceError, SpecError
from harness.base.progress import Progress
from harness.base.spec import KernelSpec, PackageSpec
from harness.base.store import Store, interrupted
from harness.kernel.source import SourceTree, open_source
from harness.kernel.worktree import check_out, object_tree, tree_count, work_tree

MAKEFILE = "VERSION = 7\nPATCHLEVEL = 1\nSUBLEVEL = 3\nEXTRAVERSION = -rc2\nNAME = Tiny\n"
FILES = {"Makefile": MAKEFILE, "Kconfig": "\n", "kernel/a.c": "a\n", ".gitignore": "*.o\n"}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "cache")


def git(repo: Path, *words: str) -> str:
    identity = ["-c", "user.name=A", "-c", "user.email=a@example.com"]
    done = subprocess.run(
        ["git", *identity, "-C", repo, *words], check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


@pytest.fixture
def kernel(tmp_path: Path) -> Path:
    """A tiny tree in git: tag v1, then one commit more."""
    path = write(tmp_path / "linux", FILES)
    git(tmp_path, "init", "-q", "-b", "main", str(path))
    git(path, "add", ".")
    git(path, "commit", "-qm", "one")
    git(path, "tag", "v1")
    (path / "kernel/a.c").write_text("b\n")
    git(path, "commit", "-qam", "two")
    return path


def tarball(directory: Path, files: dict[str, str], name: str = "linux.tar.xz") -> Path:
    write(directory / "unpacked/linux-7.1", files)
    target = directory / name
    subprocess.run(["tar", "-caf", target, "-C", directory / "unpacked", "linux-7.1"], check=True)
    return target


def opened(store: Store, **spec: Any) -> SourceTree:
    return open_source(KernelSpec(**spec), store, progress=lambda text: None)


def left(store: Store) -> list[Path]:
    """Return all repositories that the store holds, and whatever lies in tmp."""
    return [*store.root.glob("work/*/*"), *store.root.glob("tmp/*")]


# -- git trees -------------------------------------------------------------------------------


def test_git_tree_starts_at_head(store: Store, kernel: Path) -> None:
    assert opened(store, path=kernel).base == git(kernel, "rev-parse", "HEAD")


@pytest.mark.parametrize("base", ["v1", "HEAD~1", "main~1"])
def test_git_tree_starts_at_base(store: Store, kernel: Path, base: str) -> None:
    source = opened(store, path=kernel, base=base)
    assert source.base == git(kernel, "rev-parse", "v1^{commit}")
    assert source.tree == git(kernel, "rev-parse", "v1^{tree}")


def test_git_tree_version_is_the_makefiles(store: Store, kernel: Path) -> None:
    assert opened(store, path=kernel).version == "7.1.3-rc2"


def test_git_tree_is_not_touched(store: Store, kernel: Path) -> None:
    (kernel / "kernel/a.c").write_text("being edited\n")

    def state() -> tuple[object, ...]:
        files = {
            path: (path.stat().st_mtime_ns, path.read_bytes())
            for path in kernel.rglob("*")
            if path.is_file() and path.name != "index"
        }
        return files, git(kernel, "for-each-ref"), git(kernel, "status", "--porcelain")

    before = state()
    source = opened(store, path=kernel, base="v1")
    check_out(source.repo, source.base)
    assert state() == before


def test_git_tree_lies_in_the_cache(store: Store, kernel: Path) -> None:
    assert store.root in opened(store, path=kernel).repo.parents


def test_git_tree_borrows_objects_once(store: Store, kernel: Path) -> None:
    said: list[Progress] = []
    for _ in range(2):
        open_source(KernelSpec(path=kernel), store, progress=said.append)
    assert len(said) == 1


def test_git_tree_new_commit_is_found(store: Store, kernel: Path) -> None:
    opened(store, path=kernel)
    git(kernel, "commit", "-q", "--allow-empty", "-m", "three")
    source = opened(store, path=kernel)
    assert git(source.repo, "log", "-1", "--format=%s", source.base) == "three"


def test_git_worktree_of_another_tree(store: Store, kernel: Path, tmp_path: Path) -> None:
    git(kernel, "worktree", "add", "-q", "--detach", str(tmp_path / "second"), "v1")
    source = opened(store, path=tmp_path / "second")
    assert source.base == git(kernel, "rev-parse", "v1^{commit}")
    check_out(source.repo, source.base)


def test_git_tree_uncommitted_changes_are_said(
    store: Store, kernel: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (kernel / "kernel/a.c").write_text("changed\n")
    opened(store, path=kernel)
    assert "uncommitted changes" in caplog.text


def test_git_tree_ignores_the_users_configuration(
    store: Store, kernel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".gitconfig").write_text("[core]\n\tautocrlf = true\n\teol = crlf\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    source = opened(store, path=kernel)
    check_out(source.repo, source.base)
    assert (source.repo / "kernel/a.c").read_bytes() == b"b\n"


def test_git_tree_unknown_base_has_a_hint(store: Store, kernel: Path) -> None:
    with pytest.raises(SourceError, match="has no revision 'v9'") as caught:
        opened(store, path=kernel, base="v9")
    assert "log --oneline" in (caught.value.hint or "")


def test_directory_without_git_has_a_hint(store: Store, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="is no git tree") as caught:
        opened(store, path=write(tmp_path / "plain", FILES))
    assert "tarball" in (caught.value.hint or "")


def test_absent_path_is_named(store: Store, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"there is no .*/absent$"):
        opened(store, path=tmp_path / "absent")


@pytest.mark.parametrize("missing", ["Makefile", "Kconfig"])
def test_git_tree_that_is_no_kernel_has_a_hint(store: Store, kernel: Path, missing: str) -> None:
    git(kernel, "rm", "-q", missing)
    git(kernel, "commit", "-qm", "gone")
    with pytest.raises(SourceError, match="is no kernel tree") as caught:
        opened(store, path=kernel)
    assert "top of a Linux tree" in (caught.value.hint or "")


def test_git_tree_with_another_makefile_is_no_kernel(store: Store, kernel: Path) -> None:
    (kernel / "Makefile").write_text("all:\n\t@true\n")
    git(kernel, "commit", "-qam", "another")
    with pytest.raises(SourceError, match="is no kernel tree"):
        opened(store, path=kernel)


def test_subdirectory_of_a_git_tree_is_no_kernel_tree(store: Store, kernel: Path) -> None:
    with pytest.raises(SourceError, match=r"kernel.* is no"):
        opened(store, path=kernel / "kernel")


@pytest.mark.parametrize(
    ("makefile", "version"),
    [
        ("VERSION = 7\nPATCHLEVEL = 0\nSUBLEVEL = 13\nEXTRAVERSION =\n", "7.0.13"),
        ("VERSION = 7\nPATCHLEVEL = 0\n", "7.0.0"),
    ],
)
def test_version_of_other_makefiles(
    store: Store, kernel: Path, makefile: str, version: str
) -> None:
    (kernel / "Makefile").write_text(makefile)
    git(kernel, "commit", "-qam", "version")
    assert opened(store, path=kernel).version == version


# -- checking out ----------------------------------------------------------------------------


def test_check_out_drops_what_does_not_belong(store: Store, kernel: Path) -> None:
    source = opened(store, path=kernel)
    check_out(source.repo, source.base)
    write(source.repo, {"kernel/a.c": "changed\n", "left/over.c": "", "kernel/a.o": ""})
    check_out(source.repo, source.base)
    assert (source.repo / "kernel/a.c").read_text() == "b\n"
    assert not (source.repo / "left").exists()
    assert not (source.repo / "kernel/a.o").exists()


def test_check_out_leaves_files_that_are_the_same(store: Store, kernel: Path) -> None:
    source = opened(store, path=kernel)
    check_out(source.repo, source.base)
    before = (source.repo / "Makefile").stat().st_mtime_ns
    check_out(source.repo, git(kernel, "rev-parse", "v1^{commit}"))
    assert (source.repo / "kernel/a.c").read_text() == "a\n"
    assert (source.repo / "Makefile").stat().st_mtime_ns == before


def test_check_out_after_a_killed_git(store: Store, kernel: Path) -> None:
    source = opened(store, path=kernel)
    (source.repo / ".git/index.lock").touch()
    check_out(source.repo, source.base)
    assert (source.repo / "Makefile").exists()


def test_check_out_of_no_commit_is_an_error(store: Store, kernel: Path) -> None:
    source = opened(store, path=kernel)
    with pytest.raises(SourceError, match="cannot check out 012345670123"):
        check_out(source.repo, "0123456701234567012345670123456701234567")


# -- several work trees ----------------------------------------------------------------------


@pytest.fixture
def built(store: Store, kernel: Path, monkeypatch: pytest.MonkeyPatch) -> SourceTree:
    """A repository that may have two work trees, with a kernel built in the first."""
    monkeypatch.setenv("HARNESS_TREES", "2")
    source = opened(store, path=kernel)
    objects = object_tree(source.repo, "default")
    objects.mkdir()
    (objects / "vmlinux").touch()
    return source


def taken(
    source: SourceTree, store: Store, commit: str, profile: str = "default"
) -> contextlib.AbstractContextManager[Path]:
    return work_tree(source, commit, store, profile=profile)


def test_two_builds_have_a_work_tree_each(store: Store, kernel: Path, built: SourceTree) -> None:
    first = git(kernel, "rev-parse", "v1^{commit}")
    with taken(built, store, built.base) as one, taken(built, store, first) as two:
        assert (one / "kernel/a.c").read_text() == "b\n"
        assert (two / "kernel/a.c").read_text() == "a\n"
        assert object_tree(one, "default") != object_tree(two, "default")
        # What the compiler cache sees of a path is what comes behind the parent of the tree.
        assert one.name == two.name
    with taken(built, store, first) as again:
        assert again == one


def test_compilers_have_object_trees_of_their_own(tmp_path: Path) -> None:
    tree = tmp_path / "src"
    assert object_tree(tree, "debug", "gcc") == tmp_path / "obj-debug"
    assert object_tree(tree, "debug", "/opt/bin/gcc-14") == tmp_path / "obj-debug-gcc-14"


@pytest.mark.parametrize("profile", ["default", "debug"])
def test_builds_wait_when_no_work_tree_is_free(
    store: Store, built: SourceTree, monkeypatch: pytest.MonkeyPatch, profile: str
) -> None:
    """Two are taken, or the first has not built that profile yet."""
    said: list[Progress] = []
    monkeypatch.setattr(store, "announce", said.append)
    monkeypatch.setattr(interrupted, "is_set", lambda: True)
    with contextlib.ExitStack() as stack:
        stack.enter_context(taken(built, store, built.base))
        if profile == "default":
            stack.enter_context(taken(built, store, built.base))
        with pytest.raises(CacheError, match="interrupted"):
            stack.enter_context(taken(built, store, built.base, profile))
    assert [str(each) for each in said] == [
        "waiting for another process: it builds in the same tree"
    ]


def test_work_tree_that_was_deleted_is_made_again(store: Store, built: SourceTree) -> None:
    for _ in range(2):
        with taken(built, store, built.base), taken(built, store, built.base) as two:
            assert (two / "Makefile").exists()
        shutil.rmtree(two)


@pytest.mark.parametrize(("cpus", "trees"), [(1, 1), (2, 1), (7, 1), (8, 2), (64, 16)])
def test_work_trees_by_cpus(monkeypatch: pytest.MonkeyPatch, cpus: int, trees: int) -> None:
    monkeypatch.delenv("HARNESS_TREES", raising=False)
    monkeypatch.setattr("os.cpu_count", lambda: cpus)
    assert tree_count() == trees


@pytest.mark.parametrize("text", ["0", "many", "-1"])
def test_number_of_work_trees_that_is_none(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("HARNESS_TREES", text)
    with pytest.raises(SpecError, match="HARNESS_TREES"):
        tree_count()


# -- archives --------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["tar", "tar.gz", "tar.xz"])
def test_tarball_becomes_a_tree(store: Store, tmp_path: Path, suffix: str) -> None:
    source = opened(store, path=tarball(tmp_path, FILES, f"linux.{suffix}"))
    assert source.version == "7.1.3-rc2"
    assert git(source.repo, "show", f"{source.base}:kernel/a.c") == "a"


def test_tarball_is_imported_with_files_that_git_would_ignore(store: Store, tmp_path: Path) -> None:
    source = opened(store, path=tarball(tmp_path, FILES | {"kernel/blob.o": "kept\n"}))
    assert git(source.repo, "show", f"{source.base}:kernel/blob.o") == "kept"


def test_tarball_is_imported_once(store: Store, tmp_path: Path) -> None:
    path = tarball(tmp_path, FILES)
    first = opened(store, path=path)
    marker = first.repo / "marker"
    marker.touch()
    assert opened(store, path=path) == first
    assert marker.exists()


def test_tarball_same_content_is_the_same_commit(store: Store, tmp_path: Path) -> None:
    path = tarball(tmp_path, FILES)
    first, second = opened(store, path=path), opened(Store(tmp_path / "other"), path=path)
    assert (first.base, first.tree) == (second.base, second.tree)


def test_tarball_has_no_revisions(store: Store, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="has no revisions") as caught:
        opened(store, path=tarball(tmp_path, FILES), base="v1")
    assert caught.value.hint == "leave --base out"


@pytest.mark.parametrize("missing", ["Makefile", "Kconfig"])
def test_tarball_of_something_else_is_refused_and_not_kept(
    store: Store, tmp_path: Path, missing: str
) -> None:
    files = {name: text for name, text in FILES.items() if name != missing}
    with pytest.raises(SourceError, match="holds no kernel tree") as caught:
        opened(store, path=tarball(tmp_path, files))
    assert "whole Linux tree" in (caught.value.hint or "")
    assert left(store) == []


def test_tarball_cut_short_is_refused_and_not_kept(store: Store, tmp_path: Path) -> None:
    whole = tarball(tmp_path, FILES | {"kernel/big.c": "x" * 100000}, "linux.tar").read_bytes()
    (tmp_path / "short.tar").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(SourceError, match="cannot be unpacked") as caught:
        opened(store, path=tmp_path / "short.tar")
    assert caught.value.hint == "is it cut short?"
    assert left(store) == []


def test_file_that_is_no_archive_is_refused(store: Store, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no archive\n")
    with pytest.raises(SourceError, match=r"notes\.txt cannot be unpacked"):
        opened(store, path=tmp_path / "notes.txt")


def test_interrupted_import_leaves_nothing_and_can_be_repeated(
    store: Store, tmp_path: Path
) -> None:
    path = tarball(tmp_path, FILES)

    def interrupt(progress: Progress) -> None:
        if str(progress).startswith("importing"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        open_source(KernelSpec(path=path), store, progress=interrupt)
    assert left(store) == []
    assert opened(store, path=path).version == "7.1.3-rc2"


def test_killed_import_is_made_anew(store: Store, tmp_path: Path) -> None:
    path = tarball(tmp_path, FILES)
    source = opened(store, path=path)
    (source.repo / ".git/harness-ready").unlink()
    (source.repo / "kernel/a.c").write_text("half\n")
    assert opened(store, path=path) == source
    assert (source.repo / "kernel/a.c").read_text() == "a\n"


# -- packages --------------------------------------------------------------------------------


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
    assert list(store.entries()) == []


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


def test_imported_tree_is_opened_while_somebody_builds_in_it(store: Store, tmp_path: Path) -> None:
    path = tarball(tmp_path, FILES)
    first = opened(store, path=path)
    found: list[SourceTree] = []
    with Store(store.root).lock(first.lock):
        reader = threading.Thread(target=lambda: found.append(opened(store, path=path)))
        reader.start()
        reader.join(20)
        assert found == [first], "it waited for the builder"
