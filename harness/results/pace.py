# SPDX-License-Identifier: GPL-2.0-only
"""How long things take: from how far they are, from the builds in the cache, from the history."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from harness.base.errors import HarnessError
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


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildProgress:
    """How far make is with a kernel; as a string what people are told of it.

    :param what: what is built.
    :param steps: those that are done.
    :param total: about how many there are, ``None`` when nothing is known that can be relied on.
    :param left_s: about how many seconds are left, ``None`` when it cannot be said (yet).
    :param now: what make said last.
    """

    what: str
    steps: int = 0
    total: int | None = None
    left_s: float | None = None
    now: str = ""

    def __str__(self) -> str:
        if not self.steps:
            return self.what
        # The time first: a narrow terminal cuts the end off.
        said = [about(self.left_s)] if self.left_s is not None else []
        of = f" of about {self.total:,}" if self.total is not None else ""
        said.append(f"{self.steps:,}{of} steps")
        if self.now:
            said.append(f"now {self.now}")
        return f"{self.what}: {', '.join(said)}"


class StepCounter:
    """Counts the steps of one kernel build.

    :param total: how many a whole build has; ``None`` when make rebuilds what has changed, since
        how much that is cannot be known.
    :param before: how many of them were done by builds that were interrupted.
    """

    def __init__(self, what: str, *, total: int | None, before: int = 0) -> None:
        self.what = what
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

    def progress(self, elapsed_s: float) -> BuildProgress:
        """Return how far the build is.

        :param elapsed_s: seconds since it began.
        """
        # A total that has proved too small says nothing about what is left.
        total = self._total if self._total is not None and self.steps <= self._total else None
        left_s = None
        if total is not None and self._here and elapsed_s >= _SETTLED_S:
            one_s = elapsed_s / self._here
            left_s = one_s * (total - self.steps + _LINK_SHARE * total)
        return BuildProgress(
            what=self.what, steps=self.steps, total=total, left_s=left_s, now=self._now
        )


def about(seconds: float) -> str:
    """Return how much time is left, no more exactly than it can be known: ``about 4 min left``."""
    minutes = round(seconds / 60)
    return f"about {minutes} min left" if minutes else "less than a minute left"


def whole_build_steps(store: Store, profile: str) -> int:
    """Return how many steps a whole build of a profile has: as many as the newest one had."""
    found = [
        (at, facts["steps"])
        for at, facts in _builds(store)
        if facts["profile"] == profile and isinstance(facts.get("steps"), int)
    ]
    return int(max(found)[1]) if found else WHOLE_BUILD_STEPS


def _builds(store: Store) -> Iterator[tuple[float, dict[str, Any]]]:
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
    """Answers, by what is said of a stage, how long that took last."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: dict[str, float | None] = {}

    def seconds(self, stage: str) -> float | None:
        """Return how long a stage took last, ``None`` when that is not known.

        :param stage: what progress says of it, up to the first colon.
        """
        if stage not in self._known:
            self._known[stage] = self._find(stage)
        return self._known[stage]

    def _find(self, stage: str) -> float | None:
        build = re.fullmatch(r"building \S+ \((?P<profile>\w+)(?P<local>-p\d\S*)\)", stage)
        if build is not None:
            return self._build(build["profile"], build["local"])
        test = re.fullmatch(r"testing (?P<release>\S+)", stage)
        if test is not None:
            return _tests(test["release"])
        return None

    def _build(self, profile: str, local: str) -> float | None:
        """Return what the newest build of that position took, else that of its profile."""
        found = [
            (str(facts["release"]).endswith(local), made, float(facts["seconds"]))
            for made, facts in _builds(self._store)
            # Whole builds take many times as long, and have an estimate of their own.
            if facts["profile"] == profile and facts.get("steps") is None
        ]
        return max(found)[2] if found else None


def _tests(release: str) -> float | None:
    try:
        with History() as history:
            return history.last_seconds(release)
    except HarnessError:
        return None
