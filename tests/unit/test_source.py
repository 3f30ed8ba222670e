# SPDX-License-Identifier: GPL-2.0-only
"""A kernel tree comes from git, a tarball or a package; what is none is refused and not kept."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from trees import FILES, git, left, opened, tarball, write

from harness.base.errors import CommandError, SourceError
from harness.base.progress import Progress
from harness.base.spec import KernelSpec
from harness.base.store import Store
from harness.kernel import source
from harness.kernel.source import SourceTree, open_source
from harness.kernel.worktree import check_out

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


def test_imported_tree_is_opened_while_somebody_builds_in_it(store: Store, tmp_path: Path) -> None:
    path = tarball(tmp_path, FILES)
    first = opened(store, path=path)
    found: list[SourceTree] = []
    with Store(store.root).lock(first.lock):
        reader = threading.Thread(target=lambda: found.append(opened(store, path=path)))
        reader.start()
        reader.join(20)
        assert found == [first], "it waited for the builder"


# -- whoever it belongs to -------------------------------------------------------------------


@pytest.fixture
def foreign(kernel: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let git take every repository for another user's (its ``setup.c``)."""
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")


@pytest.mark.usefixtures("foreign")
def test_tree_of_another_user_is_read(store: Store, kernel: Path) -> None:
    source = opened(store, path=kernel)
    check_out(source.repo, source.base)
    assert (source.repo / "kernel/a.c").read_text() == "b\n"
    write(kernel, {"kernel/a.c": "c\n"})
    git(kernel, "-c", f"safe.directory={kernel}", "commit", "-qam", "third")
    assert opened(store, path=kernel).base != source.base


@pytest.mark.usefixtures("foreign")
def test_work_tree_of_another_user_is_read(store: Store, kernel: Path, tmp_path: Path) -> None:
    git(kernel, "-c", f"safe.directory={kernel}", "worktree", "add", "-q", str(tmp_path / "other"))
    other = tmp_path / "other"
    source = opened(store, path=other)
    write(other, {"kernel/a.c": "c\n"})
    git(other, "-c", f"safe.directory={other}", "commit", "-qam", "third")
    assert opened(store, path=other).base != source.base


@pytest.mark.usefixtures("foreign")
def test_directory_in_a_tree_of_another_user_is_not_its_top(store: Store, kernel: Path) -> None:
    with pytest.raises(SourceError, match="is not the top of a git tree") as caught:
        opened(store, path=kernel / "kernel")
    assert caught.value.hint == f"give {kernel}"


@pytest.mark.usefixtures("foreign")
def test_no_repository_but_the_one_at_hand_is_trusted(kernel: Path, tmp_path: Path) -> None:
    git(tmp_path, "init", "-q", str(tmp_path / "other"))
    assert source.git(kernel, "status").returncode == 0
    with pytest.raises(CommandError, match="dubious ownership"):
        source.git(kernel, "-C", tmp_path / "other", "status")
