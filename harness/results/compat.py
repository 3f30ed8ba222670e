# SPDX-License-Identifier: GPL-2.0-only
"""What pairs of kernels came to: which hands over to which, and what the suite states of it.

Tests of two kernels (``@pytest.mark.two_kernels``) go from one kernel to another.  One that passes
has proven what it carried; one that raises :class:`Refused` has proven that nothing is claimed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from harness.base.errors import ExitCode
from harness.base.strict_yaml import read_yaml
from harness.base.text import plural
from harness.results.form import read_file, to_plain
from harness.results.results import Outcome, TestResult

FILE = "compat.json"
SCHEMA = 1


class Refused(AssertionError):  # noqa: N818 - a fate, told by a test
    """The next kernel takes nothing over and says so; the message is what it says."""


class Fate(StrEnum):
    """What became of what one kernel handed to the next, from the best to the worst.

    ``CRASHED``: a kernel died on the way, or printed a splat.  ``LOST``: anything else than what
    was handed over is there, and no kernel says so.
    """

    CARRIED = "carried"
    REFUSED = "refused"
    NO_VERDICT = "no verdict"
    LOST = "lost"
    CRASHED = "crashed"


_GRAVITY = tuple(Fate)
_REFUSED = f"{Refused.__module__}.{Refused.__qualname__}"


@dataclass(frozen=True, slots=True, kw_only=True)
class PairTest:
    """What one test came to.

    :param id: the test's, below the suite's tests.
    :param message: what it said; empty when it passed.
    """

    id: str
    fate: Fate
    message: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PairResult:
    """One kernel that hands over to another.

    :param source: the kernel that hands over, as it was named (``from`` in JSON).
    :param target: the kernel that takes over (``to`` in JSON).
    :param fate: the worst of the tests', or why there are none.
    :param stated: what the suite states; ``None`` when it states nothing.
    :param message: what the worst test said; empty when everything was carried.
    :param directory: results and logs.
    :param seconds: what it took this time.
    :param cached: whether the results came from the cache.
    :param reproduce: the command line that does it again.
    """

    source: str = field(metadata={"key": "from"})
    target: str = field(metadata={"key": "to"})
    fate: Fate
    stated: Fate | None
    message: str
    tests: tuple[PairTest, ...]
    directory: Path
    seconds: float
    cached: bool
    reproduce: str

    @property
    def allowed(self) -> tuple[Fate, ...]:
        """What it may come to: what is stated.

        Without that a kernel has to take over from itself, and another may refuse.
        """
        if self.stated is not None:
            return (self.stated,)
        own = self.source == self.target
        return (Fate.CARRIED,) if own else (Fate.CARRIED, Fate.REFUSED)

    @property
    def unexpected(self) -> bool:
        """Whether it came to something else, or to no verdict."""
        return self.fate not in self.allowed


@dataclass(frozen=True, slots=True, kw_only=True)
class CompatResults:
    """Which kernel hands over to which.

    :param releases: kernel, as it was named -> what ``uname -r`` says there.
    :param pairs: by kernel that hands over, then by kernel that takes over.
    """

    profile: str
    releases: Mapping[str, str]
    pairs: tuple[PairResult, ...]

    @property
    def sources(self) -> tuple[str, ...]:
        """The kernels that hand over."""
        return tuple(dict.fromkeys(pair.source for pair in self.pairs))

    @property
    def targets(self) -> tuple[str, ...]:
        """The kernels that take over."""
        return tuple(dict.fromkeys(pair.target for pair in self.pairs))

    def pair(self, source: str, target: str) -> PairResult | None:
        """Return what a pair came to, ``None`` when it was not tried."""
        own = (pair for pair in self.pairs if (pair.source, pair.target) == (source, target))
        return next(own, None)

    @property
    def exit_code(self) -> ExitCode:
        """What the command exits with; a verdict weighs more than trouble of the host."""
        wrong = {pair.fate for pair in self.pairs if pair.unexpected}
        if wrong - {Fate.NO_VERDICT}:
            return ExitCode.TESTS_FAILED
        return ExitCode.INFRASTRUCTURE if wrong else ExitCode.PASSED

    @property
    def summary(self) -> str:
        """How many pairs came to what, one line."""
        counts = {fate: sum(pair.fate is fate for pair in self.pairs) for fate in Fate}
        said = ", ".join(f"{count} {fate.value}" for fate, count in counts.items() if count)
        wrong = sum(pair.unexpected for pair in self.pairs)
        return f"{plural(len(self.pairs), 'pair')}: {said}; {wrong or 'none'} unexpected"

    def to_json(self) -> dict[str, Any]:
        """Return the documented JSON form."""
        return {"schema": SCHEMA, **to_plain(self)}


def read_compat(path: Path) -> CompatResults:
    """Read what :meth:`CompatResults.to_json` returned.

    :raises SpecError: when it is missing, of another schema, or damaged.
    """
    return read_file(path, CompatResults, SCHEMA)


def fate_of(test: TestResult) -> Fate | None:
    """Return what a test of two kernels says; ``None`` when it had nothing to ask."""
    match test.outcome:
        case Outcome.SKIPPED:
            return None
        case Outcome.ERROR:
            return Fate.NO_VERDICT
        case Outcome.PASSED:
            return Fate.CARRIED
        case Outcome.CRASHED:
            return Fate.CRASHED
    if test.splats:
        return Fate.CRASHED
    return Fate.REFUSED if test.exception == _REFUSED else Fate.LOST


def worst(fates: Iterable[Fate]) -> Fate:
    """Return the worst of several fates; of none there is no verdict."""
    return max(fates, key=_GRAVITY.index, default=Fate.NO_VERDICT)


Stated = Mapping[str, Mapping[str, Fate]]
"""Kernel that hands over -> kernel that takes over -> fate."""


def read_stated(file: Path | None) -> Stated:
    """Read what a suite states of pairs of kernels; a suite without such a file states nothing.

    :raises SpecError: on anything that is not a table of fates.
    """
    if file is None:
        return {}
    found: dict[str, dict[str, Fate]] = {}
    known = [fate.value for fate in Fate if fate is not Fate.NO_VERDICT]
    with read_yaml(file, "pairs of kernels") as top:
        for source in top.keys():  # noqa: SIM118 - a Section is no dict
            with top.section(source) as row:
                found[source] = {}
                for target in row.keys():  # noqa: SIM118
                    text = row.value(target, str)
                    if text not in known:
                        raise row.error(target, f"{text!r} is none of {', '.join(known)}")
                    found[source][target] = Fate(text)
    return found
