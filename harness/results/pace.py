# SPDX-License-Identifier: GPL-2.0-only
"""How long things take: from how far they are, from the builds in the cache, from the history."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from harness.base.errors import HarnessError
from harness.base.progress import Building, Count, Progress, Running, Stage
from harness.base.store import Store
from harness.results.history import History

WHOLE_BUILD_STEPS = 1200
"""Steps of make for a whole kernel, until a build of the profile is in the cache to say better."""

_STEP = re.compile(r"\s+(?:CC|AS|LD|AR|HOSTCC)\s")
"""What make says of a step that is counted: the others cost next to nothing."""

_SETTLED_S = 20.0
"""Seconds after which the pace says something: a build begins with programs for the host."""

_LINK_SHARE = 0.06
"""What comes after the last object, linking and packing, as a part of all before it."""


class StepCounter:
    """Counts the steps of one kernel build.

    :param stage: what the build is to people.
    :param total: how many a whole build has; ``None`` when make rebuilds what has changed, since
        how much that is cannot be known.
    :param before: how many of them were done by builds that were interrupted.
    """

    def __init__(self, stage: Stage, *, total: int | None, before: int = 0) -> None:
        self.stage = stage
        self._total = total
        self._before = before
        self._here = 0
        self._now = ""

    @property
    def whole(self) -> bool:
        """Whether it is the first build of its object tree."""
        return self._total is not None

    @property
    def steps(self) -> int:
        """How many steps are done."""
        return self._before + self._here

    def line(self, line: str) -> None:
        """Take a line that make has printed."""
        self._here += _STEP.match(line) is not None
        self._now = " ".join(line.split())[:60]

    def progress(self, elapsed_s: float) -> Progress:
        """Return how far the build is.

        :param elapsed_s: seconds since it began.
        """
        # A total that has proved too small says nothing about what is left.
        total = self._total if self._total is not None and self.steps <= self._total else None
        left_s = None
        if total is not None and self._here and elapsed_s >= _SETTLED_S:
            one_s = elapsed_s / self._here
            left_s = one_s * (total - self.steps + _LINK_SHARE * total)
        if not self.steps:
            return Progress(self.stage)
        now = f"now {self._now}" if self._now else ""
        count = Count(done=self.steps, total=total, unit="steps", about=True)
        return Progress(self.stage, now, count, left_s)


def whole_build_steps(store: Store, profile: str) -> int:
    """Return how many steps a whole build of a profile has: as many as the newest one had."""
    found = [
        (at, facts["steps"])
        for at, facts in builds_in(store)
        if facts["profile"] == profile and isinstance(facts.get("steps"), int)
    ]
    return int(max(found)[1]) if found else WHOLE_BUILD_STEPS


def builds_in(store: Store) -> Iterator[tuple[float, dict[str, Any]]]:
    """Yield when a build in the cache was made, and its facts."""
    for path in (store.root / "objects" / "build").glob("*/build.json"):
        try:
            facts = json.loads(path.read_text())
            made = path.stat().st_mtime
        except (OSError, ValueError):
            continue
        if isinstance(facts, dict) and {"profile", "release", "seconds"} <= facts.keys():
            yield made, facts


class Pace:
    """Answers how long a stage took last."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: dict[Stage, float | None] = {}

    def seconds(self, stage: Stage) -> float | None:
        """Return how long a stage took last, ``None`` when that is not known."""
        if stage not in self._known:
            self._known[stage] = self._find(stage)
        return self._known[stage]

    def _find(self, stage: Stage) -> float | None:
        match stage:
            case Building():
                return self._build(stage)
            case Running():
                return _tests(stage.release)
            case _:
                return None

    def _build(self, stage: Building) -> float | None:
        """Return what the newest build of that position took, else that of its profile."""
        found = [
            (str(facts["release"]).endswith(stage.localversion), made, float(facts["seconds"]))
            for made, facts in builds_in(self._store)
            # Whole builds take many times as long, and have an estimate of their own.
            if facts["profile"] == stage.profile and facts.get("steps") is None
        ]
        return max(found)[2] if found else None


def _tests(release: str) -> float | None:
    try:
        with History() as history:
            return history.last_seconds(release)
    except HarnessError:
        return None
