# SPDX-License-Identifier: GPL-2.0-only
"""A build has a work tree to itself, which is brought to its commit and holds nothing else."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from trees import git, opened, write

from harness.base.errors import CacheError, SourceError, SpecError
from harness.base.progress import Progress
from harness.base.store import Store
from harness.kernel.source import SourceTree
from harness.kernel.worktree import check_out, object_tree, tree_count, work_tree


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
    with contextlib.ExitStack() as stack:
        stack.enter_context(taken(built, store, built.base))
        if profile == "default":
            stack.enter_context(taken(built, store, built.base))
        monkeypatch.setattr("harness.base.command.interrupted", lambda: True)
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
    monkeypatch.setattr("harness.kernel.worktree.usable_cpus", lambda: cpus)
    assert tree_count() == trees


@pytest.mark.parametrize("text", ["0", "many", "-1"])
def test_number_of_work_trees_that_is_none(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("HARNESS_TREES", text)
    with pytest.raises(SpecError, match="HARNESS_TREES"):
        tree_count()


# -- who used the objects last ----------------------------------------------------------------


@pytest.fixture
def objects(store: Store, kernel: Path) -> Path:
    """An object tree with a file in it."""
    source = opened(store, path=kernel)
    directory = object_tree(source.repo, "default")
    write(directory, {"kernel/a.o": ""})
    return directory


def use(store: Store, kernel: Path, code: str) -> int:
    """Run *code* in a process of its own, with the object tree in use."""
    words = f"""if 1:
        import os
        from pathlib import Path
        from trees import opened
        from harness.base.store import Store
        from harness.kernel.worktree import work_tree
        source = opened(Store(Path({str(store.root)!r})), path=Path({str(kernel)!r}))
        with work_tree(source, source.base, Store(Path({str(store.root)!r})), profile="default"):
            {code}
    """
    done = subprocess.run(
        [sys.executable, "-c", words], cwd=Path(__file__).parent, capture_output=True, timeout=60
    )
    return done.returncode


def test_objects_of_a_killed_build_are_begun_anew(
    store: Store, kernel: Path, objects: Path
) -> None:
    assert use(store, kernel, "os.kill(os.getpid(), 9)") == -9
    assert (objects / "kernel/a.o").exists()
    assert use(store, kernel, "pass") == 0
    assert not (objects / "kernel/a.o").exists()


@pytest.mark.parametrize(("code", "status"), [("pass", 0), ("raise SystemExit(7)", 7)])
def test_objects_of_a_build_that_came_to_its_end_are_kept(
    store: Store, kernel: Path, objects: Path, code: str, status: int
) -> None:
    assert use(store, kernel, code) == status
    assert use(store, kernel, "pass") == 0
    assert (objects / "kernel/a.o").exists()
