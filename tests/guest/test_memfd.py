# SPDX-License-Identifier: GPL-2.0-only
"""Memfds keep size, content and offset across a live update.

One live update serves all tests of this file; each looks at its own memfd.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from harness.liveupdate import LiveUpdate, Memfd
from harness.plugin import record_updates
from harness.vm import VirtualMachine

KIB, MIB = 1 << 10, 1 << 20

MEMFDS = {
    memfd.name: memfd
    for memfd in (
        Memfd("empty"),
        Memfd("one-byte", size=1),
        Memfd("4-KiB", size=4 * KIB),
        Memfd("a-page-and-a-byte", size=4 * KIB + 1),
        Memfd("16-MiB", size=16 * MIB),
        Memfd("sparse", size=8 * MIB, pattern="sparse"),
        Memfd("all-holes", size=4 * MIB, pattern="zero"),
        Memfd("at-an-offset", size=8 * KIB, offset=1234),
    )
}

MANY = [Memfd(f"many-{n}", size=4 * KIB, seed=100 + n, session="many") for n in range(100)]
"""Files in one session; LUO has room for more than this (``kernel/liveupdate/luo_file.c``)."""


@pytest.fixture(scope="module")
def updated(
    request: pytest.FixtureRequest, boot_machine: Callable[..., VirtualMachine]
) -> Iterator[LiveUpdate]:
    """All memfds preserved, updated and retrieved once."""
    with boot_machine() as machine:
        update = LiveUpdate(machine, session="memfds")
        update.preserve_memfds(*MEMFDS.values(), *MANY)
        update.execute()
        update.retrieve()
        yield update
        record_updates(request, [update])


@pytest.mark.parametrize("name", MEMFDS)
def test_memfd_survives_a_live_update(updated: LiveUpdate, name: str) -> None:
    updated.verify(name)
    # The fingerprint was taken in the first kernel; the pattern is known to this side alone.
    updated.vm.must("check", name, *MEMFDS[name].shape)


def test_memfd_many_in_one_session_survive(updated: LiveUpdate) -> None:
    updated.verify(*(memfd.name for memfd in MANY))


def test_memfd_content_check_notices_another_pattern(updated: LiveUpdate) -> None:
    answer = updated.vm.agent("check", "4-KiB", "--size", 4 * KIB, "--seed", 2)
    assert answer["error"] == "mismatch"


def test_memfd_stays_usable_after_finish(updated: LiveUpdate) -> None:
    updated.finish()
    updated.vm.must("seek", "4-KiB", 0)
    updated.vm.must("write", "4-KiB", "written in the second kernel")
    updated.vm.must("seek", "4-KiB", 0)
    answer = updated.vm.must("read", "4-KiB", "--length", 7)
    assert bytes.fromhex(answer["hex"]) == b"written"
