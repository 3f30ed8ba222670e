# SPDX-License-Identifier: GPL-2.0-only
"""Races in the guest: give the agent a schedule, wait for the end, and say what came of it."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass
from typing import Any

from harness.base.errors import GuestError, InputError
from harness.guest.machine import Machine
from harness.results.schedule import Operation, Schedule

GRACE_S = 20.0
"""How long an actor may usually be at its last operation; scaled as a machine's deadlines are."""

JOURNAL_BYTES = 1 << 20
"""How long a file must be that is to be the journal (``struct journal`` in ``race.c``)."""

_PATH = "/run/schedule"
_WAIT_MS = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class RaceResult:
    """What came of a race.

    :param rounds: how many rounds there were.
    :param counts: for each operation, by its words as the schedule has them, how often it came to
        ``"ok"`` or to an errno.
    """

    rounds: int
    counts: dict[Operation, Counter[str]]

    def done(self, *words: str) -> int:
        """Return how often operations that begin with *words* worked."""
        return sum(
            found["ok"] for said, found in self.counts.items() if said[: len(words)] == words
        )


def run_race(
    machine: Machine, schedule: Schedule, *, journal: str = "-", grace_s: float = GRACE_S
) -> RaceResult:
    """Run a race from its beginning to its end.

    :param journal: a file of :data:`JOURNAL_BYTES` that the agent holds; ``-`` for none.
    :param grace_s: how long an actor may be at its last operation; it is scaled.
    :raises AssertionError: when it cannot begin a round, an actor dies or does not come back, or an
        operation fails without an errno: a file has not the content it is to have.
    :raises GuestError: when an actor cannot be made, or does not come back on a machine without
        processor time.
    :raises InputError: when an operation is none of the agent's.
    """
    start_race(machine, schedule, journal=journal, grace_s=grace_s)
    deadline = time.monotonic() + schedule.time_ms / 1000 + 3 * GRACE_S * machine.timeouts.scale
    while not machine.must("race", "wait", _WAIT_MS)["ended"]:
        if time.monotonic() > deadline:
            raise AssertionError("the race does not end")
    return _judged(machine, schedule, machine.must("race", "result"))


def start_race(
    machine: Machine, schedule: Schedule, *, journal: str = "-", grace_s: float = GRACE_S
) -> None:
    """Start a race; it goes on in the guest whatever is done here."""
    text = schedule.text(int(grace_s * machine.timeouts.scale * 1000))
    machine.guest.put(text.encode(), _PATH, timeout_s=machine.timeouts.command_s)
    machine.must("race", "start", journal, _PATH)


def _judged(machine: Machine, schedule: Schedule, answer: dict[str, Any]) -> RaceResult:
    where = f"in round {answer['rounds']} of seed {schedule.seed}"
    if "failed" in answer:
        failed = answer["failed"]
        words = (schedule.last if failed["last"] else schedule.first)[failed["op"]]
        raise AssertionError(f"{' '.join(words)}: {failed['status']} {where}")
    counts: dict[Operation, Counter[str]] = {}
    for operations, actor in zip(schedule.actors, answer["actors"], strict=True):
        said = " ".join(operations[actor["op"]]) if operations else "nothing"
        if actor["stuck"]:
            looked = machine.processor_time
            if looked is not None and (why := looked.why_starved()) is not None:
                raise GuestError(f"an actor does not come back from {said!r}: {why}")
            raise AssertionError(f"an actor does not come back from {said!r} {where}")
        if "unmade" in actor:
            raise GuestError(f"an actor could not be made: {actor['unmade']} {where}")
        if actor["died"]:
            raise AssertionError(f"an actor died of signal {actor['died']} in {said!r} {where}")
        for item in actor["operations"]:
            words = operations[item["op"]]
            if item["status"] == "usage":
                raise InputError(f"the agent does not take {' '.join(words)!r}")
            if item["status"] == "failed":
                raise AssertionError(f"{' '.join(words)} failed without an errno {where}")
            counts.setdefault(words, Counter())[item["status"]] += item["count"]
    if not answer["done"]:
        raise AssertionError(f"the race ended before its time {where}")
    return RaceResult(rounds=answer["rounds"], counts=counts)
