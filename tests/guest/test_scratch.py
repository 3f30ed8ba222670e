# SPDX-License-Identifier: GPL-2.0-only
"""Scratch areas of the sizes that somebody asks for, in which the next kernel boots."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from prepared import managed_kib

from harness.guest.machine import Machine

WHOLE = "20M,64M,36M"
"""Whole page blocks, which are of 4 MiB at most with pages of 4 KiB."""
BROKEN = "17001K,61001K,36M"
"""Less than those, by less than a page block each."""
BLOCK_KIB = 4096


@pytest.mark.both_ends
@pytest.mark.fails_without(
    "scratch-whole-blocks", "is managed twice", splat="BUG: Bad page state|WARNING: mm/page_alloc"
)
def test_scratch_areas_take_no_memory_of_others(boot_machine: Callable[..., Machine]) -> None:
    managed = []
    for sizes in (WHOLE, BROKEN):
        with boot_machine(cmdline=(f"kho_scratch={sizes}",)) as machine:
            assert machine.run(["test", "-c", "/dev/liveupdate"]).status == 0
            managed.append(managed_kib(machine))
    more = managed[1] - managed[0]
    assert more < BLOCK_KIB // 4, f"{more} KiB behind the areas is managed twice"
