# SPDX-License-Identifier: GPL-2.0-only
"""Schedules of races: what actors in the guest do, all at once.

A schedule is made from a seed and phrases (operations that belong together), is kept as JSON, and
becomes the text that the agent reads (``harness/guest/agent/README.md``).
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harness.base.errors import InputError

Operation = tuple[str, ...]
"""The words of one of the agent's verbs, with ``%r`` for the round and ``%a`` for the actor."""

Phrase = tuple[Operation, ...]

MOST_ACTORS, MOST_OPERATIONS = 16, 32
"""What the agent has room for (``RACE_ACTORS`` and ``RACE_OPS`` in ``internal.h``)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """What actors do.

    :param seed: what it was made from; the waits between operations follow from it too.
    :param actors: for each its operations, in order.
    :param first: what is done before each round; what it opens, all actors have.
    :param last: what is done after each round.
    :param rounds: how often at most all actors begin at the same moment, and go through their
        operations once; 0 lets each begin anew whenever it is through.
    :param time_ms: how long the race goes on.
    :param jitter_us: how long an actor waits at most before an operation.
    """

    seed: int
    actors: tuple[tuple[Operation, ...], ...]
    first: tuple[Operation, ...] = ()
    last: tuple[Operation, ...] = ()
    rounds: int = 0
    time_ms: int = 1000
    jitter_us: int = 50

    def text(self, grace_ms: int) -> str:
        """Return what the agent reads.

        :param grace_ms: how long after the end an actor may still be at its operation.
        """
        lines = [f"!seed {self.seed}", f"!time {self.time_ms}", f"!grace {grace_ms}"]
        lines += [f"!rounds {self.rounds}", f"!jitter {self.jitter_us}"]
        parts = [("first", self.first), *(("actor", ops) for ops in self.actors)]
        for name, operations in (*parts, ("last", self.last)):
            lines += [f"!{name}", *("\t".join(words) for words in operations)]
        return "\n".join(lines) + "\n"

    @property
    def pieces(self) -> tuple[tuple[int, int], ...]:
        """All operations of the actors, as (actor, operation)."""
        return tuple((a, o) for a, ops in enumerate(self.actors) for o in range(len(ops)))

    def only(self, pieces: Collection[tuple[int, int]]) -> Schedule:
        """Return the schedule with these of its :attr:`pieces`, without actors that have none."""
        kept = (
            tuple(words for o, words in enumerate(ops) if (a, o) in pieces)
            for a, ops in enumerate(self.actors)
        )
        return replace(self, actors=tuple(ops for ops in kept if ops))

    def described(self) -> str:
        """Return it for people: an actor a line."""
        parts = [("first", self.first), *(("actor", ops) for ops in self.actors)]
        lines = [
            f"{name}: {'; '.join(' '.join(words) for words in operations)}"
            for name, operations in (*parts, ("last", self.last))
            if operations
        ]
        how = f"at most {self.rounds} rounds" if self.rounds else "on and on"
        return "\n".join([f"seed {self.seed}, {how}, {self.time_ms} ms", *lines])

    def to_json(self) -> str:
        """Return it as :func:`read_schedule` takes it."""
        item = {name: getattr(self, name) for name in self.__slots__}
        return json.dumps(item, indent=1) + "\n"


def read_schedule(path: Path) -> Schedule:
    """Read a schedule that a run has left.

    :raises InputError: when it cannot be read, or is none.
    """
    try:
        item: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        actors = tuple(_operations(ops) for ops in item["actors"])
        numbers = {name: int(item[name]) for name in ("seed", "rounds", "time_ms", "jitter_us")}
        first, last = _operations(item["first"]), _operations(item["last"])
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, TypeError, KeyError) as error:
        raise InputError(
            f"{path} is no schedule: {error}", hint="a run leaves them below schedules/"
        ) from error
    return Schedule(actors=actors, first=first, last=last, **numbers)


def _operations(found: Any) -> tuple[Operation, ...]:
    return tuple(tuple(str(word) for word in words) for words in found)


def draw(
    chance: random.Random, phrases: Sequence[Phrase], *, actors: int, operations: int
) -> tuple[tuple[Operation, ...], ...]:
    """Return what each of so many actors does: phrases by chance, up to so many operations."""
    drawn = []
    for _ in range(actors):
        own: list[Operation] = []
        while True:
            phrase = chance.choice(phrases)
            if own and len(own) + len(phrase) > operations:
                break
            own += phrase
        drawn.append(tuple(own[:MOST_OPERATIONS]))
    return tuple(drawn)


def smallest(schedule: Schedule, fails: Callable[[Schedule], bool]) -> Schedule:
    """Return the fewest actors and operations that still fail, as far as *fails* is steady.

    First whole actors go, then operations (delta debugging: Zeller and Hildebrandt, 2002).

    :param fails: runs a schedule and says whether it fails; that *schedule* does is known.
    """

    def of(actors: Sequence[int]) -> Schedule:
        return schedule.only([piece for piece in schedule.pieces if piece[0] in actors])

    actors = _ddmin(tuple(range(len(schedule.actors))), lambda some: fails(of(some)))
    fewer = of(actors)
    pieces = _ddmin(fewer.pieces, lambda some: fails(fewer.only(some)))
    return fewer.only(pieces)


def _ddmin(items: tuple[Any, ...], fails: Callable[[tuple[Any, ...]], bool]) -> tuple[Any, ...]:
    parts = 2
    while len(items) > 1:
        size = -(-len(items) // parts)
        chunks = [items[at : at + size] for at in range(0, len(items), size)]
        rests = [tuple(i for i in items if i not in chunk) for chunk in chunks]
        smaller = next((some for some in (*chunks, *rests) if some and fails(some)), None)
        if smaller is not None:
            parts = 2 if smaller in chunks else max(parts - 1, 2)
            items = smaller
        elif size == 1:
            break
        else:
            parts = min(parts * 2, len(items))
    return items
