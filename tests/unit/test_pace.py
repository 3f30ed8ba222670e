# SPDX-License-Identifier: GPL-2.0-only
"""How far a kernel build is, and how long it will still take."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

from harness.base.progress import Building, Count, Progress, about
from harness.base.store import Store
from harness.results.pace import (
    WHOLE_BUILD_STEPS,
    Pace,
    StepCounter,
    whole_build_steps,
)

STAGE = Building(commit="49d5bb642de1" + 28 * "0", profile="default", localversion="-p11")
WHAT = "building 49d5bb642de1 (default-p11)"

RECORDED = """\
  GEN     Makefile
  HOSTCC  scripts/basic/fixdep
  WRAP    arch/x86/include/generated/uapi/asm/socket.h
  SYSHDR  arch/x86/include/generated/uapi/asm/unistd_64.h
  HOSTCC  arch/x86/tools/relocs_32.o
  HOSTLD  arch/x86/tools/relocs
  CC      scripts/mod/empty.o
  UPD     include/generated/timeconst.h
  AR      init/built-in.a
In file included from ../kernel/liveupdate/luo_core.c:42:
  CC [M]  lib/test_module.o
  AS      arch/x86/entry/entry.o
  CHKSHA1 ../include/linux/atomic/atomic-instrumented.h
  LD      vmlinux.o
"""
"""Lines of a build's log; seven of them are steps that count."""


def counted(total: int | None, steps: int, *, before: int = 0) -> StepCounter:
    counter = StepCounter(STAGE, total=total, before=before)
    for number in range(steps):
        counter.line(f"  CC      mm/file{number}.o")
    return counter


def said(counter: StepCounter, elapsed_s: float) -> str:
    """Return what people are told, without the line of make."""
    return str(counter.progress(elapsed_s)).partition(", now ")[0]


def test_steps_of_a_recorded_build_are_counted() -> None:
    counter = StepCounter(STAGE, total=None)
    for line in RECORDED.splitlines():
        counter.line(line)
    assert counter.steps == 7
    assert str(counter.progress(3.0)) == f"{WHAT}: 7 steps, now LD vmlinux.o"


def test_first_build_says_from_the_first_minute_on_how_long_it_will_take() -> None:
    # 4 steps a second; 888 and the link are left.
    assert said(counted(1300, 412), 103.0) == (
        f"{WHAT}: about 4 min left, 412 of about 1,300 steps"
    )


def test_pace_of_the_first_seconds_promises_nothing() -> None:
    assert counted(1300, 30).progress(10.0).left_s is None
    assert counted(1300, 60).progress(20.0).left_s is not None


def test_before_the_first_step_only_what_is_built_is_said() -> None:
    assert said(StepCounter(STAGE, total=1300), 30.0) == WHAT


def test_rebuild_of_what_has_changed_has_no_estimate() -> None:
    assert said(counted(None, 412), 100.0) == f"{WHAT}: 412 steps"


@pytest.mark.parametrize("steps", [1301, 1500, 9000])
def test_total_that_proves_too_small_is_dropped(steps: int) -> None:
    assert said(counted(1300, steps), 300.0) == f"{WHAT}: {steps:,} steps"


def test_time_left_is_never_below_nothing_and_no_step_is_above_the_total() -> None:
    counter = StepCounter(STAGE, total=1300)
    for number in range(2000):
        counter.line("  CC      mm/file.o")
        found = counter.progress(20.0 + number / 4)
        assert found.left_s is None or found.left_s > 0
        assert found.count is not None
        assert found.count.total is None or found.count.done <= found.count.total


def test_end_of_the_last_step_leaves_the_link() -> None:
    assert said(counted(1300, 1300), 325.0) == (
        f"{WHAT}: less than a minute left, 1,300 of about 1,300 steps"
    )


def test_build_that_goes_on_after_an_interrupt_counts_what_is_there() -> None:
    counter = counted(1300, 100, before=800)
    # 100 steps in 25 s are 4 a second, however fast the 800 were.
    assert said(counter, 25.0) == f"{WHAT}: about 2 min left, 900 of about 1,300 steps"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "less than a minute left"),
        (29.0, "less than a minute left"),
        (31.0, "about 1 min left"),
        (236.0, "about 4 min left"),
        (5400.0, "about 90 min left"),
    ],
)
def test_time_left_is_said_no_more_exactly_than_it_is_known(seconds: float, text: str) -> None:
    assert about(seconds) == text


def test_time_left_survives_a_terminal_of_eighty_columns() -> None:
    count = Count(done=412, total=1300, unit="steps", about=True)
    left = Progress(STAGE, "now CC mm/memory.o", count, left_s=236.0)
    assert re.search("about 4 min left", str(left)[:70])


# -- how many steps there will be --------------------------------------------------------------


def add_build(store: Store, name: str, at: float, **facts: object) -> None:
    path = store.root / "objects" / "build" / name / "build.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"release": "7.0.13-p00", "seconds": 1.0} | facts))
    os.utime(path, (at, at))


def test_steps_without_a_build_in_the_cache_are_the_shipped_figure(tmp_path: Path) -> None:
    assert whole_build_steps(Store(tmp_path), "default") == WHOLE_BUILD_STEPS


def test_steps_are_those_of_the_newest_whole_build_of_the_profile(tmp_path: Path) -> None:
    store = Store(tmp_path)
    add_build(store, "old", 1, profile="default", steps=1760)
    add_build(store, "new", 2, profile="default", steps=1294)
    add_build(store, "rebuilt", 3, profile="default", steps=None)
    add_build(store, "of-an-older-release", 4, profile="default")
    add_build(store, "other", 5, profile="debug", steps=1500)
    assert whole_build_steps(store, "default") == 1294
    assert whole_build_steps(store, "debug") == 1500


def test_steps_are_known_although_an_entry_is_damaged(tmp_path: Path) -> None:
    store = Store(tmp_path)
    add_build(store, "whole", 1, profile="default", steps=1294)
    for name, text in (("cut", '{"profile": "def'), ("list", "[]"), ("few", '{"steps": 3}')):
        path = store.root / "objects" / "build" / name / "build.json"
        path.parent.mkdir(parents=True)
        path.write_text(text)
    assert whole_build_steps(store, "default") == 1294


def test_what_a_whole_build_took_is_not_expected_of_a_rebuild(tmp_path: Path) -> None:
    store = Store(tmp_path)
    add_build(store, "whole", 1, profile="default", seconds=1182.0, steps=1758)
    assert Pace(store).seconds(STAGE) is None
    add_build(store, "rebuilt", 2, profile="default", seconds=43.0, steps=None)
    assert Pace(store).seconds(STAGE) == 43.0
