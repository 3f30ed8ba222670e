# SPDX-License-Identifier: GPL-2.0-only
"""Schedules of races: made from seeds, kept, and cut down to what fails."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from harness.base.errors import InputError
from harness.results.schedule import Operation, Schedule, draw, read_schedule, smallest

PHRASES = ((("open", "f"), ("close", "f")), (("pause", "1"),), (("get", "a"), ("get", "b")))


def drawn(seed: int) -> tuple[tuple[Operation, ...], ...]:
    return draw(random.Random(seed), PHRASES, actors=4, operations=6)  # noqa: S311


def test_same_seed_draws_the_same_actors() -> None:
    assert drawn(3) == drawn(3)
    assert len({drawn(seed) for seed in range(20)}) == 20


def test_drawn_actors_keep_phrases_whole() -> None:
    for seed in range(20):
        for operations in drawn(seed):
            assert 0 < len(operations) <= 6
            words = " ".join(" ".join(said) for said in operations)
            assert words.count("open f") == words.count("open f close f")


def test_text_is_what_the_agent_reads() -> None:
    schedule = Schedule(seed=7, actors=((("a", "b"),), (("c",),)), last=(("d",),), rounds=2)
    assert schedule.text(9) == (
        "!seed 7\n!time 1000\n!grace 9\n!rounds 2\n!jitter 50\n!first\n!actor\na\tb\n!actor\nc\n"
        "!last\nd\n"
    )


def test_schedule_is_read_as_it_was_kept(tmp_path: Path) -> None:
    schedule = Schedule(seed=7, actors=drawn(7), first=(("x", "y"),), rounds=3, time_ms=5)
    (tmp_path / "s.json").write_text(schedule.to_json())
    assert read_schedule(tmp_path / "s.json") == schedule


@pytest.mark.parametrize("text", ["", "[]", '{"seed": 1}', '{"actors": 3}'])
def test_what_is_no_schedule_is_bad_input(tmp_path: Path, text: str) -> None:
    (tmp_path / "s.json").write_text(text)
    with pytest.raises(InputError, match="is no schedule"):
        read_schedule(tmp_path / "s.json")


def test_schedule_that_is_not_there_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot read"):
        read_schedule(tmp_path / "s.json")


def test_smallest_keeps_what_fails_together() -> None:
    actors = tuple(tuple((f"{a}.{o}",) for o in range(5)) for a in range(8))
    schedule = Schedule(seed=1, actors=actors, first=(("f",),))
    wanted = {("2.1",), ("6.0",), ("6.4",)}
    asked = 0

    def fails(candidate: Schedule) -> bool:
        nonlocal asked
        asked += 1
        assert all(candidate.actors)
        return wanted <= {words for operations in candidate.actors for words in operations}

    least = smallest(schedule, fails)
    assert least.actors == ((("2.1",),), (("6.0",), ("6.4",)))
    assert least.first == schedule.first
    assert asked < 100


def test_smallest_of_one_operation_is_itself() -> None:
    schedule = Schedule(seed=1, actors=((("a",),),))
    assert smallest(schedule, lambda _: True) == schedule
