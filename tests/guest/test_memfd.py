# SPDX-License-Identifier: GPL-2.0-only
"""Memfds keep size, content and offset across a live update.

One live update serves all tests of this file; each looks at its own memfd.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from prepared import KIB, LATE, MANY, MEMFDS, MOVED, MOVED_TO, SEALED, WRITTEN, memfds

from harness.liveupdate.fixtures import UpdatedMachine
from harness.liveupdate.update import LiveUpdate


@pytest.fixture(scope="module")
def updated(updated_machine: UpdatedMachine) -> Iterator[LiveUpdate]:
    """All memfds preserved, updated and retrieved once."""
    with updated_machine(memfds) as update:
        update.retrieve()
        yield update


@pytest.mark.parametrize("name", MEMFDS)
def test_memfd_survives_a_live_update(updated: LiveUpdate, name: str) -> None:
    updated.verify(name)
    # The fingerprint was taken in the first kernel; the pattern is known to this side alone.
    updated.machine.must("check", name, *MEMFDS[name].shape)


def test_memfd_many_in_one_session_survive(updated: LiveUpdate) -> None:
    updated.verify(*(memfd.name for memfd in MANY))


def test_memfd_offset_is_that_of_the_last_moment(updated: LiveUpdate) -> None:
    assert updated.machine.must("verify", MOVED.name)["offset"] == MOVED_TO


@pytest.mark.fails_without("memfd-written-late", "is forgotten")
def test_memfd_written_after_its_preserve_keeps_that(updated: LiveUpdate) -> None:
    # A kernel may forget what no page says that it was written to, once it needs the memory.
    machine = updated.machine
    machine.must("pageout", LATE.name)
    machine.must("seek", LATE.name, 0)
    answer = machine.must("read", LATE.name, "--length", len(WRITTEN))
    assert bytes.fromhex(answer["hex"]) == WRITTEN.encode(), "what was written is forgotten"


@pytest.mark.without_feature("memfd-seals")
def test_memfd_comes_back_without_its_seals(updated: LiveUpdate) -> None:
    # ``mm/memfd_luo.c`` says so, and that it can be sealed again.  It cannot: what comes back was
    # made without MFD_ALLOW_SEALING, and that is a seal of its own.
    (item,) = (item for item in updated.preserved if item.name == SEALED.name)
    assert sorted(item.fingerprint["seals"]) == sorted(SEALED.seals)
    answer = updated.machine.must("verify", SEALED.name)
    assert answer["seals"] == ["seal"]
    assert answer["sha256"] == item.fingerprint["sha256"]


@pytest.mark.feature("memfd-seals")
def test_memfd_comes_back_with_its_seals(updated: LiveUpdate) -> None:
    (item,) = (item for item in updated.preserved if item.name == SEALED.name)
    assert sorted(item.fingerprint["seals"]) == sorted(SEALED.seals)
    updated.verify(SEALED.name)


def test_memfd_that_came_back_can_be_reclaimed(updated_machine: UpdatedMachine) -> None:
    # Its pages are among those that the kernel looks through when memory is short.
    with updated_machine(memfds) as update:
        update.retrieve()
        script = "echo 1 >/proc/sys/vm/stat_refresh; cat /proc/vmstat"
        lines = update.machine.check(script).splitlines()
    pages = {name: int(count) for name, count in map(str.split, lines)}
    assert pages["nr_inactive_anon"] + pages["nr_active_anon"] >= pages["nr_shmem"]


def test_memfd_content_check_notices_another_pattern(updated: LiveUpdate) -> None:
    answer = updated.machine.agent("check", "4-KiB", "--size", 4 * KIB, "--seed", 2)
    assert answer["error"] == "mismatch"


def test_memfd_stays_usable_after_finish(updated_machine: UpdatedMachine) -> None:
    # A machine of its own: the others look at what this one changes, in any order.
    with updated_machine(memfds) as update:
        update.retrieve()
        update.finish()
        update.machine.must("seek", "4-KiB", 0)
        update.machine.must("write", "4-KiB", "written in the second kernel")
        update.machine.must("seek", "4-KiB", 0)
        answer = update.machine.must("read", "4-KiB", "--length", 7)
        assert bytes.fromhex(answer["hex"]) == b"written"
