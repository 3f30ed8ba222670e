# SPDX-License-Identifier: GPL-2.0-only
"""What a test of races has: its seeds, the schedules made from them, and how to see one again."""

from __future__ import annotations

import dataclasses
import random
import shlex
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from harness.base.errors import SpecError
from harness.plugin.options import setting
from harness.plugin.session import or_exit, session_of
from harness.plugin.verdict import sanitised
from harness.results.schedule import MOST_OPERATIONS, Phrase, Schedule, draw, read_schedule

_SECTION = "race"


class Races:
    """The seeds and schedules of one test."""

    def __init__(self, request: pytest.FixtureRequest) -> None:
        self._item = request.node
        self._session = session_of(request.config)
        self._seed = or_exit(lambda: _number(request.config, "seed"))
        self._seconds = or_exit(lambda: _number(request.config, "races"))
        given = setting(request.config, "schedule")
        self._given = or_exit(lambda: read_schedule(Path(given))) if given else None

    def seeds(self) -> Iterator[int]:
        """Yield the seed, and those that come after it as long as ``--races`` says.

        With ``--schedule`` it is the schedule's, once.
        """
        if self._given is not None:
            yield self._given.seed
            return
        began, seed = time.monotonic(), self._seed
        while True:
            yield seed
            seed += 1
            if time.monotonic() - began >= self._seconds:
                return

    def schedule(
        self,
        seed: int,
        phrases: Sequence[Phrase],
        *,
        actors: int | None = None,
        operations: int = MOST_OPERATIONS,
        **fields: Any,
    ) -> Schedule:
        """Return the schedule that follows from *seed*, or the actors of that of ``--schedule``.

        Results keep it, and a test that fails says how it is seen again.

        :param phrases: what actors do: operations that belong together.
        :param actors: how many draw from the phrases by chance; ``None`` makes each phrase an
            actor, and only the waits follow from the seed.
        :param operations: how many each actor has at most.
        :param fields: further fields of the schedule.
        """
        if self._given is not None:
            made = dataclasses.replace(self._given, **fields)
        elif actors is None:
            made = Schedule(seed=seed, actors=tuple(phrases), **fields)
        else:
            chance = random.Random(f"{seed} {self._item.name}")  # noqa: S311 - it must come again
            drawn = draw(chance, phrases, actors=actors, operations=operations)
            made = Schedule(seed=seed, actors=drawn, **fields)
        self._keep(made)
        return made

    def _keep(self, made: Schedule) -> None:
        path = self._session.directory / "schedules" / f"{sanitised(self._item.nodeid)}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(made.to_json())
        test = shlex.quote(self._session.test_id(self._item.nodeid))
        text = (
            f"{made.described()}\n"
            f"again:    harness run --seed {made.seed} -- {test}\n"
            f"minimize: harness minimize {shlex.quote(str(path))} --test {test}"
        )
        sections = self._item._report_sections
        sections[:] = [part for part in sections if part[1] != _SECTION]
        self._item.add_report_section("call", _SECTION, text)


def _number(config: pytest.Config, name: str) -> int:
    text = setting(config, name) or "0"
    if not text.isdecimal():
        raise SpecError(f"{name} must be a whole number, not {text!r}")
    return int(text)
