# SPDX-License-Identifier: GPL-2.0-only
"""Memfds keep size, content, offset and seals across a live update.

One live update serves all tests of this file; each looks at its own memfd.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from harness.liveupdate import LiveUpdate
from harness.plugin import record_updates
from harness.vm import VirtualMachine

MIB = 1 << 20
MANY = 100
"""Files in one session; LUO has room for 128 (``LUO_FILE_MAX``)."""

MEMFDS: dict[str, tuple[int, tuple[str, ...]]] = {
    "empty": (0, ()),
    "one-byte": (1, ()),
    "one-page": (4096, ()),
    "page-and-a-byte": (4097, ()),
    "large": (16 * MIB, ()),
    "sparse": (8 * MIB, ("--pattern", "sparse", "--stride", "65536")),
    "all-holes": (4 * MIB, ("--pattern", "zero")),
    "at-an-offset": (8192, ("--offset", "1234")),
}


@pytest.fixture(scope="module")
def updated(
    request: pytest.FixtureRequest, boot_machine: Callable[..., VirtualMachine]
) -> Iterator[LiveUpdate]:
    """All memfds preserved, updated and retrieved once."""
    with boot_machine() as machine:
        update = LiveUpdate(machine, session="memfds")
        for name, (size, options) in MEMFDS.items():
            update.preserve_memfd(name, *options, size=size)
        for number in range(MANY):
            update.preserve_memfd(f"many{number}", size=4096, seed=number, session="many")
        update.execute()
        update.retrieve()
        yield update
        record_updates(request, [update])


@pytest.mark.parametrize("name", MEMFDS)
def test_memfd_survives_a_live_update(updated: LiveUpdate, name: str) -> None:
    item = next(item for item in updated.preserved if item.name == name)
    updated.verify_one(item)


def test_memfd_content_is_the_pattern_that_was_written(updated: LiveUpdate) -> None:
    answer = updated.vm.must("check", "large", "--size", 16 * MIB, "--seed", 1)
    assert answer["ok"]


def test_memfd_many_survive_a_live_update(updated: LiveUpdate) -> None:
    many = [item for item in updated.preserved if item.session == "many"]
    assert len(many) == MANY
    for item in many:
        updated.verify_one(item)


def test_memfd_session_finishes(updated: LiveUpdate) -> None:
    updated.verify()
    updated.finish()


def test_memfd_stays_usable_after_finish(updated: LiveUpdate) -> None:
    updated.vm.must("seek", "one-page", 0)
    updated.vm.must("write", "one-page", "written in the second kernel")
    answer = updated.vm.must("read", "one-page", "--length", 7)
    assert answer["ok"]
