# SPDX-License-Identifier: GPL-2.0-only
"""What becomes of a race in the guest: the agent's own answers, on the host, and what they mean."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from test_agent import GUEST, UAPI, Agent, build, running

from harness.base.errors import GuestError, InputError
from harness.guest.machine import Machine
from harness.guest.race import run_race
from harness.results.schedule import Phrase, Schedule


class Host:
    """The host as the machine of a race, with the agent in it."""

    timeouts = SimpleNamespace(scale=1.0, command_s=10.0)
    processor_time = None

    def __init__(self, agent: Agent, path: Path) -> None:
        self._agent = agent
        self._path = path
        self.guest = SimpleNamespace(put=lambda data, name, timeout_s: path.write_bytes(data))

    def must(self, *words: object) -> dict[str, Any]:
        if words[:2] == ("race", "start"):
            words = (*words[:-1], self._path)
        return self._agent(*map(str, words))


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("agent")
    return build(out, f"UAPI={UAPI}", extra=[GUEST / "memfd.c"])


@pytest.fixture
def machine(program: Path, tmp_path: Path) -> Iterator[Machine]:
    with running(Agent(program, tmp_path / "agent.sock")) as agent:
        yield cast("Machine", Host(agent, tmp_path / "schedule"))


def raced(machine: Machine, *actors: Phrase, first: Phrase = ()) -> dict[Any, Any]:
    """Run one round; return what each operation came to."""
    schedule = Schedule(seed=1, actors=actors, first=first, rounds=1, time_ms=5000)
    return {words: dict(found) for words, found in run_race(machine, schedule).counts.items()}


def test_operations_are_counted_by_what_they_came_to(machine: Machine) -> None:
    closed, paused = ("close", "absent"), ("pause", "1")
    assert raced(machine, (closed, paused)) == {closed: {"EBADF": 1}, paused: {"ok": 1}}


def test_file_with_other_bytes_is_a_failure(machine: Machine) -> None:
    made = ("memfd", "create", "m", "--size", "10", "--seed", "1")
    checked = ("check", "m", "--size", "10", "--seed", "2")
    with pytest.raises(AssertionError, match=r"check m .* failed without an errno in round 1"):
        raced(machine, (checked,), first=(made,))
    with pytest.raises(AssertionError, match=r"check m .*: failed in round"):
        raced(machine, (("pause", "1"),), first=(made, checked))


def test_operation_that_no_agent_has_is_a_wrong_test(machine: Machine) -> None:
    with pytest.raises(InputError, match="does not take 'no such'"):
        raced(machine, (("no", "such"),))


def test_actor_that_stays_is_a_failure(machine: Machine) -> None:
    schedule = Schedule(seed=1, actors=((("pause", "60000000"),),), rounds=1, time_ms=100)
    with pytest.raises(AssertionError, match="does not come back from 'pause 60000000'"):
        run_race(machine, schedule, grace_s=0.1)


def test_actor_that_cannot_be_made_is_no_verdict(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As the agent says it; a host has no processes too few for one test alone.
    must = machine.must

    def without_second(*words: Any) -> dict[str, Any]:
        answer = must(*words)
        if words == ("race", "result"):
            answer["actors"][1] |= {"begun": 0, "unmade": "EAGAIN", "operations": []}
        return answer

    monkeypatch.setattr(machine, "must", without_second)
    with pytest.raises(GuestError, match="could not be made: EAGAIN"):
        raced(machine, (("pause", "1"),), (("pause", "1"),))
