# SPDX-License-Identifier: GPL-2.0-only
"""The cache keeps to its room: what was not used for longest goes, and nothing that is in use."""

from __future__ import annotations

import contextlib
import fcntl
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from trees import opened

from harness.base import room
from harness.base.errors import SpecError
from harness.base.room import ccache_bytes, make_room, parts, room_bytes
from harness.base.store import Store
from harness.kernel.worktree import object_tree, state_directory, work_tree

GIB = 2**30


@pytest.fixture(autouse=True)
def _no_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HARNESS_ROOM", raising=False)


def fill(directory: Path, mib: int, name: str = "file") -> None:
    directory.mkdir(parents=True, exist_ok=True)
    (directory / name).write_bytes(os.urandom(mib << 20))


def use(path: Path, when: float) -> None:
    for each in (path / "manifest.json", path):
        with contextlib.suppress(OSError):
            os.utime(each, (when, when))


def entry(root: Path, key: str, used: float, mib: int = 1) -> Path:
    store = Store(root)
    with store.produce("build", key) as directory:
        fill(directory, mib)
    path = root / "objects" / "build" / key
    use(path, used)
    return path


def work(root: Path, name: str, used: float, mib: int = 1) -> Path:
    path = root / "work" / name
    fill(path, mib)
    use(path, used)
    return path


def download(root: Path, name: str, used: float) -> Path:
    fill(root / "downloads", 1, name)
    os.utime(root / "downloads" / name, (used, 1))
    return root / "downloads" / name


def holds(store: Store) -> int:
    return sum(part.size_bytes for part in parts(store))


def with_room(store: Store, mib: float) -> Store:
    """Return the cache with so much room besides what it has of its own."""
    return Store(store.root, room=repr((mib * 2**20 + (64 << 10)) / GIB))


def test_what_was_not_used_for_longest_goes_first_whatever_it_is(store: Store) -> None:
    root = store.root
    there = [
        entry(root, "a", 100),
        work(root, "b", 200),
        download(root, "c", 300),
        entry(root, "d", 400),
        work(root, "e", 500),
        download(root, "f", 600),
    ]
    dropped = make_room(with_room(store, 3))
    assert [part.path for part in dropped] == there[:3]
    assert [path.exists() for path in there] == [False] * 3 + [True] * 3
    assert holds(store) <= 3.1 * 2**20
    assert make_room(with_room(store, 3)) == []


def test_nothing_goes_while_there_is_room(store: Store) -> None:
    there = [entry(store.root, "a", 100), work(store.root, "b", 200)]
    assert make_room(store) == []
    assert all(path.exists() for path in there)


def test_what_was_not_used_for_days_goes_though_there_is_room(store: Store) -> None:
    old = entry(store.root, "a", time.time() - 20 * 86400)
    new = entry(store.root, "b", time.time() - 86400)
    assert [part.path for part in make_room(store, unused_days=10)] == [old]
    assert new.exists()


def test_what_is_asked_for_was_used(store: Store) -> None:
    first, second = entry(store.root, "a", 100), entry(store.root, "b", 200)
    asking = Store(store.root)
    assert asking.get("build", "a") == first
    asking.let_go(first)
    assert [part.path for part in make_room(with_room(store, 1))] == [second]


def test_work_directory_that_is_asked_for_was_used(store: Store) -> None:
    first, second = work(store.root, "a", 100), work(store.root, "b", 200)
    asking = Store(store.root)
    asking.work("a")
    asking.let_go(first)
    assert [part.path for part in make_room(with_room(store, 1))] == [second]


# -- what is in use --------------------------------------------------------------------------


def test_what_is_held_stays_until_it_is_let_go(store: Store) -> None:
    there = [entry(store.root, "a", 100), work(store.root, "b", 200)]
    holder = Store(store.root)
    assert all(holder.hold(path) for path in there)
    assert make_room(with_room(store, 0)) == []
    holder.let_go(there[0])
    assert [part.path for part in make_room(with_room(store, 0))] == there[:1]
    del holder
    assert [part.path for part in make_room(with_room(store, 0))] == there[1:]


def test_what_a_cache_returned_is_held(store: Store) -> None:
    found = store.get_or_make("build", "a", lambda directory: fill(directory, 1))
    made = store.work("b")
    assert make_room(with_room(store, 0)) == []
    assert (found / "file").exists()
    assert made.exists()


HOLDS = """\
import sys, time
from pathlib import Path
from harness.base.store import Store
store = Store(Path(sys.argv[1]))
print(store.get("build", "a"), flush=True)
time.sleep(100)
"""


@contextlib.contextmanager
def holding(root: Path) -> Iterator[subprocess.Popen[str]]:
    words = [sys.executable, "-c", HOLDS, str(root)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == f"{root}/objects/build/a\n"
            yield process
        finally:
            process.kill()


def test_what_another_process_holds_stays_until_that_is_killed(store: Store) -> None:
    path = entry(store.root, "a", 100)
    with holding(store.root) as process:
        assert make_room(with_room(store, 0)) == []
        process.kill()
        process.wait()
        use(path, 100)
        assert [part.path for part in make_room(with_room(store, 0))] == [path]


def test_who_asks_while_an_entry_is_dropped_is_told_that_it_is_gone(store: Store) -> None:
    path = entry(store.root, "a", 100)
    found: list[Path | None] = []
    thread = threading.Thread(target=lambda: found.append(store.get("build", "a")))
    dropping = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(dropping, fcntl.LOCK_EX)
        thread.start()
        thread.join(0.2)
        assert found == []
        path.rename(store.root / "tmp" / "doomed")
    finally:
        os.close(dropping)
        thread.join()
    assert found == [None]


def test_entry_in_the_making_stays_and_a_dead_ones_rest_goes(store: Store) -> None:
    left = store.root / "tmp" / "build-left"
    fill(left, 1)
    with store.produce("build", "a") as making:
        for path in (left, making):
            use(path, time.time() - 3600)
        make_room(with_room(store, 0))
        assert not left.exists()
        fill(making, 1)
    assert (store.root / "objects/build/a/file").exists()


# -- trees -----------------------------------------------------------------------------------


def test_object_tree_goes_before_its_sources(store: Store) -> None:
    top = work(store.root, "linux", 300)
    old, new = top / "obj-old", top / "obj-new"
    for path, used in ((old, 100), (new, 400)):
        fill(path, 1)
        path.with_name(f"{path.name}.log").write_text("said")
        path.with_name(f"{path.name}.state").mkdir()
        for each in (path, path.with_name(f"{path.name}.log")):
            use(each, used)
    use(top, 300)
    assert [part.path for part in parts(store) if part.kind == "work"] == [old, new, top]
    assert [part.path for part in make_room(with_room(store, 2))] == [old]
    assert sorted(path.name for path in top.glob("obj-*")) == [
        "obj-new",
        "obj-new.log",
        "obj-new.state",
    ]
    assert [part.path for part in make_room(with_room(store, 0))] == [new, top]


def test_object_tree_goes_while_its_sources_are_in_use(store: Store) -> None:
    top = store.work("linux")
    fill(top / "src", 1)
    fill(top / "obj-default", 1)
    assert [part.path.name for part in make_room(with_room(store, 0))] == ["obj-default"]
    assert (top / "src/file").exists()


@pytest.mark.parametrize("killed", [False, True])
def test_trees_of_a_build_stay_until_it_ends(store: Store, kernel: Path, killed: bool) -> None:
    source = opened(store, path=kernel)
    objects = object_tree(source.repo, "default")
    if killed:
        fill(objects, 0)
        fill(state_directory(objects), 0, "in-use")
    other = Store(store.root)
    with work_tree(source, source.base, store, profile="default"):
        fill(objects, 1)
        assert make_room(with_room(other, 0)) == []
    assert [part.path for part in make_room(with_room(other, 0))] == [objects]
    assert (source.repo / "Makefile").exists()


def test_object_tree_was_used_when_the_build_ended(store: Store, kernel: Path) -> None:
    source = opened(store, path=kernel)
    objects = object_tree(source.repo, "default")
    with work_tree(source, source.base, store, profile="default"):
        use(objects, 100)
    assert objects.stat().st_mtime > time.time() - 60


def test_further_work_tree_goes_and_comes_again(
    store: Store, kernel: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARNESS_TREES", "2")
    source = opened(store, path=kernel)
    fill(object_tree(source.repo, "default"), 0, "vmlinux")

    def second() -> Path:
        with (
            work_tree(source, source.base, store, profile="default"),
            work_tree(source, source.base, store, profile="default") as tree,
        ):
            assert (tree / "Makefile").exists()
            return tree

    tree = second()
    make_room(with_room(Store(store.root), 0))
    assert not tree.parent.exists()
    fill(object_tree(source.repo, "default"), 0, "vmlinux")
    assert second() == tree


def test_sources_that_were_imported_are_in_use(store: Store, kernel: Path) -> None:
    source = opened(store, path=kernel)
    make_room(with_room(Store(store.root), 0))
    assert (source.repo / ".git").exists()


# -- what stays ------------------------------------------------------------------------------


def test_systems_of_other_hosts_stay_and_push_nothing_out(store: Store) -> None:
    fill(store.root / "hosts" / "trixie", 8)
    kept = entry(store.root, "a", 100)
    assert holds(store) < 8 << 20
    make_room(with_room(store, 4))
    assert kept.exists()
    make_room(with_room(store, 0))
    assert (store.root / "hosts" / "trixie" / "file").exists()


@pytest.mark.parametrize("name", ["keys", "ccache", "qemu"])
def test_what_cannot_be_made_again_counts_and_stays(store: Store, name: str) -> None:
    fill(store.root / name / "below", 2)
    assert holds(store) > 2 << 20
    gone = entry(store.root, "a", 100)
    assert [part.path for part in make_room(with_room(store, 0))] == [gone]
    assert (store.root / name / "below" / "file").exists()


# -- how large it may become -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("free_gib", "holds_gib", "room_gib"), [(3, 0, 1), (9, 18, 9), (90, 30, 20), (900, 0, 20)]
)
def test_room_is_a_third_of_what_there_is_and_20_gib_at_most(
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
    free_gib: int,
    holds_gib: int,
    room_gib: int,
) -> None:
    usage = type("Usage", (), {"free": free_gib * GIB})
    monkeypatch.setattr("harness.base.room.shutil.disk_usage", lambda _path: usage)
    assert room_bytes(store, holds_gib * GIB) == room_gib * GIB


def test_room_that_is_set_is_taken_as_it_is(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_ROOM", "12345.5")
    assert room_bytes(store, 0) == 12345.5 * GIB
    assert room_bytes(Store(store.root, room="2"), 0) == 2 * GIB


@pytest.mark.parametrize("text", ["much", "-1", "nan", "inf"])
def test_room_that_is_no_number_is_named(store: Store, text: str) -> None:
    with pytest.raises(SpecError, match=f"room must be a number of GiB, not '{text}'") as caught:
        room_bytes(Store(store.root, room=text), 0)
    assert "--room, --harness-room, HARNESS_ROOM" in (caught.value.hint or "")


def test_compiler_cache_has_a_quarter_of_the_room(store: Store) -> None:
    assert ccache_bytes(Store(store.root, room="8")) == 2 * GIB


# -- how large it is -------------------------------------------------------------------------


def test_size_is_what_it_takes_of_the_disk(store: Store) -> None:
    path = entry(store.root, "a", 100, mib=2)
    with (path / "file").open("r+b") as stream:
        stream.truncate(1 << 40)
    top = work(store.root, "linux", 100)
    fill(top / "obj-default", 3)
    sizes = {part.path.name: part.size_bytes >> 20 for part in parts(store)}
    assert (sizes["a"], sizes["linux"], sizes["obj-default"]) == (2, 1, 3)


def test_what_did_not_change_is_not_walked_through_again(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    walked: list[str] = []
    size = room._size

    def walk(path: str, others: set[str]) -> int:
        walked.append(path)
        return size(path, others)

    monkeypatch.setattr(room, "_size", walk)
    paths = [entry(store.root, "a", 100), work(store.root, "b", 100)]
    before = holds(store)
    assert {str(path) for path in paths} <= set(walked)
    walked.clear()
    assert holds(store) == before
    assert walked == []
    fill(paths[1], 4, "more")
    assert holds(store) >= before + (4 << 20)
    assert walked == [str(paths[1])]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"a": 1}', '{"a": [1]}'])
def test_damaged_sizes_are_taken_anew(store: Store, text: str) -> None:
    entry(store.root, "a", 100, mib=2)
    (store.root / "sizes.json").write_text(text)
    assert holds(store) > 2 << 20
