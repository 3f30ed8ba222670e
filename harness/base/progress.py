# SPDX-License-Identifier: GPL-2.0-only
"""What is being done and how far it is: values, which the terminal draws and others ask."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Building:
    """The build of one kernel.

    :param localversion: what tells its release from others, such as ``-p07``.
    """

    commit: str
    profile: str
    localversion: str

    def __str__(self) -> str:
        return f"building {self.commit[:12]} ({self.profile}{self.localversion})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """The tests on one kernel.

    :param release: its ``uname -r``.
    """

    release: str

    def __str__(self) -> str:
        return f"testing {self.release}"


Stage = str | Building | Running
"""Something that takes a while.  What has a class of its own was done before, so that
:class:`harness.results.pace.Pace` may know how long it takes; the rest is words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """How many of something are done.

    :param total: how many there are, ``None`` when it is not known.
    :param about: whether *total* is an estimate.
    """

    done: int
    total: int | None = None
    unit: str
    about: bool = False

    def __str__(self) -> str:
        if self.unit == "%":
            return f"{self.done}%"
        of = f" of {'about ' if self.about else ''}{self.total:,}" if self.total is not None else ""
        return f"{self.done:,}{of} {self.unit}"


@dataclass(frozen=True, slots=True)
class Progress:
    """What is being done, and how far it is; as a string what people are told of it.

    :param text: what of the stage it is just now.
    :param count: how far the stage is, ``None`` when that cannot be counted.
    :param left_s: about how many seconds are left of it, ``None`` when it cannot be said (yet).
    """

    stage: Stage
    text: str = ""
    count: Count | None = None
    left_s: float | None = None

    def __str__(self) -> str:
        # The time first: a narrow terminal cuts the end off.
        said = [about(self.left_s)] if self.left_s is not None else []
        said += [str(self.count)] if self.count is not None else []
        said += [self.text] if self.text else []
        return f"{self.stage}: {', '.join(said)}" if said else str(self.stage)


OnProgress = Callable[[Progress], None]
"""Is told how far things are."""


def about(seconds: float) -> str:
    """Return how much time is left, no more exactly than it can be known: ``about 4 min left``."""
    minutes = round(seconds / 60)
    return f"about {minutes} min left" if minutes else "less than a minute left"
