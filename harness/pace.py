# SPDX-License-Identifier: GPL-2.0-only
"""How long what is under way took the last time: from the builds in the cache and the history."""

from __future__ import annotations

import json
import re

from harness.errors import HarnessError
from harness.history import History
from harness.store import Store


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
        found: list[tuple[bool, float, float]] = []
        for path in (self._store.root / "objects" / "build").glob("*/build.json"):
            try:
                facts = json.loads(path.read_text())
                if facts["profile"] == profile:
                    same = str(facts["release"]).endswith(local)
                    found.append((same, path.stat().st_mtime, float(facts["seconds"])))
            except (OSError, ValueError, KeyError, TypeError):
                continue
        return max(found)[2] if found else None


def _tests(release: str) -> float | None:
    try:
        with History() as history:
            return history.last_seconds(release)
    except HarnessError:
        return None
