# SPDX-License-Identifier: GPL-2.0-only
"""Cache entries appear whole or not at all, and damage is noticed."""

from __future__ import annotations

import multiprocessing
import os
import pwd
import stat
import threading
import time
from pathlib import Path

import pytest

from harness.base import command
from harness.base.errors import CacheError
from harness.base.progress import Progress
from harness.base.store import Store, digest


def make(store: Store, key: str = "k", content: str = "content") -> Path:
    with store.produce("builds", key) as directory:
        (directory / "sub").mkdir()
        (directory / "sub" / "file").write_text(content)
    path = store.get("builds", key)
    assert path is not None
    return path


def test_get_missing_entry_is_none(store: Store) -> None:
    assert store.get("builds", "absent") is None


def test_produce_makes_an_entry(store: Store) -> None:
    assert (make(store) / "sub" / "file").read_text() == "content"


def test_produce_that_fails_leaves_nothing(store: Store) -> None:
    with pytest.raises(KeyboardInterrupt), store.produce("builds", "k") as directory:
        (directory / "half").write_text("half")
        raise KeyboardInterrupt
    assert store.get("builds", "k") is None
    assert list((store.root / "tmp").iterdir()) == []


def test_produce_replaces_an_entry(store: Store) -> None:
    make(store, content="old")
    assert (make(store, content="new") / "sub" / "file").read_text() == "new"


def test_put_where_another_process_was_faster(store: Store) -> None:
    with store.produce("builds", "k") as directory:
        (directory / "file").write_text("mine")
        make(store, content="other")
    path = store.get("builds", "k")
    assert path is not None
    assert [child.name for child in path.iterdir() if child.name != "manifest.json"] == ["file"]


def test_put_is_tried_again_when_another_is_between(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    remove, others = store.remove, ["other"]

    def slow(kind: str, key: str) -> None:
        remove(kind, key)
        if others:
            make(store, content=others.pop())

    monkeypatch.setattr(store, "remove", slow)
    assert (make(store, content="mine") / "sub" / "file").read_text() == "mine"
    assert others == []


def test_get_or_make_makes_once(store: Store) -> None:
    made = []

    def fill(directory: Path) -> None:
        made.append(directory)
        time.sleep(0.1)
        (directory / "file").write_text("content")

    def ask() -> None:
        found.append(store.get_or_make("builds", "k", fill))

    found: list[Path] = []
    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1
    assert {(path / "file").read_text() for path in found} == {"content"}
    assert len(found) == 4


def test_get_or_make_leaves_nothing_when_making_fails(store: Store) -> None:
    def fill(directory: Path) -> None:
        (directory / "half").write_text("half")
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        store.get_or_make("builds", "k", fill)
    assert store.get("builds", "k") is None
    assert list((store.root / "tmp").iterdir()) == []


@pytest.mark.parametrize(
    "damage", ["changed", "shorter", "missing", "manifest", "list", "other key", "no file"]
)
def test_get_names_the_damaged_file(store: Store, damage: str) -> None:
    path = make(store)
    file = path / "sub" / "file"
    match damage:
        case "changed":
            file.write_text("CONTENT")
            os.utime(file, (1, 1))
        case "shorter":
            file.write_text("con")
        case "missing":
            file.unlink()
        case "manifest":
            file = path / "manifest.json"
            file.write_text("{")
        case "list":
            file = path / "manifest.json"
            file.write_text('{"files": ["sub/file"]}')
        case "other key":
            file = path / "manifest.json"
            file.write_text(file.read_text().replace('"size"', '"sizd"'))
        case "no file":
            file = path / "manifest.json"
            file.write_text('{"files": {"sub/file": 7}}')
    with pytest.raises(CacheError) as caught:
        store.get("builds", "k")
    assert str(file) in caught.value.message
    assert caught.value.hint is not None


def test_get_accepts_a_touched_but_equal_file(store: Store) -> None:
    path = make(store)
    os.utime(path / "sub" / "file", (1, 1))
    assert store.get("builds", "k") == path


def test_remove(store: Store) -> None:
    make(store, "a")
    make(store, "b")
    store.remove("builds", "a")
    store.remove("builds", "absent")
    assert store.get("builds", "a") is None
    assert store.get("builds", "b") is not None


def test_digest_sees_file_content_not_its_name(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_text("same")
    two.write_text("same")
    assert digest(one) == digest(two)
    two.write_text("other")
    assert digest(one) != digest(two)


def test_digest_sees_names_and_modes_in_a_directory(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "a").write_text("x")
    before = digest(tree)
    (tree / "a").chmod(0o755)
    executable = digest(tree)
    (tree / "a").rename(tree / "b")
    assert len({before, executable, digest(tree)}) == 3


def test_digest_keeps_parts_apart() -> None:
    assert digest("ab", "c") != digest("a", "bc")


def _append_under_lock(root: Path, log: Path) -> None:
    with Store(root).lock("one"):
        before = log.read_text() if log.exists() else ""
        log.write_text(before + "x")


def test_lock_is_held_by_one_process_at_a_time(store: Store, tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    log = tmp_path / "log"
    workers = [context.Process(target=_append_under_lock, args=(store.root, log)) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert log.read_text() == "xxxx"


def test_interrupt_ends_the_wait_for_a_lock(store: Store) -> None:
    said: list[Progress] = []
    store.announce = said.append
    ended: list[str] = []

    def wait() -> None:
        try:
            with Store(store.root).lock("one", waiting="it builds"):
                ended.append("got it")
        except CacheError as error:
            ended.append(error.message)

    with store.lock("one"):
        thread = threading.Thread(target=wait)
        thread.start()
        time.sleep(0.3)
        assert ended == []
        command.interrupt(thread)
        thread.join(10)
    assert ended == ["interrupted while waiting: it builds"]


# -- whose it is -----------------------------------------------------------------------------

DIRECTORIES = ("objects", "locks", "tmp", "work")


def modes(root: Path) -> set[int]:
    return {stat.S_IMODE(path.stat().st_mode) for path in (root, *(root / n for n in DIRECTORIES))}


@pytest.mark.parametrize("umask", [0, 0o022])
def test_cache_is_for_its_owner_alone(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        store = Store(tmp_path / "further" / "cache")
    finally:
        os.umask(before)
    assert modes(store.root) == {0o700}
    assert stat.S_IMODE(store.root.parent.stat().st_mode) == 0o777 & ~umask


@pytest.mark.parametrize("mode", [0o755, 0o777, 0o770, 0o701])
def test_cache_that_others_may_read_is_mended(store: Store, mode: int) -> None:
    (store.root / "keys").mkdir()
    for path in (store.root, *(store.root / name for name in DIRECTORIES)):
        path.chmod(mode)
    assert modes(Store(store.root).root) == {0o700}


def test_directory_that_holds_other_things_stays_open(tmp_path: Path) -> None:
    (tmp_path / "letter").touch()
    tmp_path.chmod(0o1777)
    for _ in range(2):
        Store(tmp_path)
        assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o1777
        assert stat.S_IMODE((tmp_path / "objects").stat().st_mode) == 0o700


def test_cache_of_another_user_is_refused(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    other = os.geteuid() + 1
    monkeypatch.setattr("os.geteuid", lambda: other)
    name = pwd.getpwuid(os.getuid()).pw_name
    with pytest.raises(CacheError, match=f"as the cache: it is the user {name}'s") as caught:
        Store(store.root)
    assert "HARNESS_CACHE names another directory" in (caught.value.hint or "")
