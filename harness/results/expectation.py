# SPDX-License-Identifier: GPL-2.0-only
"""What a test is expected to do at a position, stated once in its markers.

A test asks for the behaviour that the whole series brings, or what other fixes bring.  Its markers
say with which patch of the suite's series that comes, by its number or its subject, or with which
feature; what is expected of it before, or on a kernel without, follows.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from harness.base.errors import SpecError

WEIGHTS = ("low", "medium", "high")
"""Of a finding: a matter of taste, a weakness that somebody can run into, a bug."""


class Expected(StrEnum):
    """What a test should do at the position under test.

    ``EITHER`` is for a race that cannot be shown every time; ``SKIPPED`` for what there is
    nothing to ask about yet.
    """

    PASSED = "passed"
    FAILED = "failed"
    EITHER = "either"
    SKIPPED = "skipped"


class Mark(Protocol):
    """What is needed of a pytest marker."""

    @property
    def name(self) -> str:
        """The marker's name."""

    @property
    def args(self) -> tuple[object, ...]:
        """Its positional arguments."""

    @property
    def kwargs(self) -> object:
        """Its keyword arguments."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """An expectation for one position.

    :param why: the marker in words; empty when the test passes everywhere.
    :param splats: regular expressions for titles of splats that belong to the failure.
    :param match: one for its message: what fails with other words has failed of something else.
    """

    outcome: Expected = Expected.PASSED
    why: str = ""
    splats: tuple[str, ...] = ()
    match: str = ""

    def explains(self, titles: Iterable[str]) -> bool:
        """Return whether every splat belongs to the expected failure."""
        return all(any(re.search(want, title) for want in self.splats) for title in titles)

    def is_met(
        self, titles: Iterable[str], *, failed: bool, passed: bool, message: str = ""
    ) -> bool:
        """Return whether a test may do what it did; one that did neither says nothing.

        :param titles: of the splats that nobody else expected.
        :param message: of the failure.
        """
        if failed:
            may = self.outcome in (Expected.FAILED, Expected.EITHER)
            return may and self.explains(titles) and bool(re.search(self.match, message))
        return not passed or self.outcome is not Expected.FAILED


EVERYWHERE = Expectation()


def fails_before(
    patch: int | str,
    splat: str | None = None,
    *,
    sometimes: bool = False,
    bug: str = "",  # noqa: ARG001 - pytest selects by it
) -> Expectation:
    """Return the expectation for positions before *patch*.

    :param splat: title of the splat that goes with the failure, a regular expression.
    :param sometimes: the failure depends on luck: passing is as good.
    :param bug: the feature that fixes what the test shows, when ``harness bugs`` is to ask it.
    """
    return _fails(f"before patch {patch}", splat, sometimes=sometimes)


def fails_without(
    feature: str, match: str, splat: str | None = None, *, sometimes: bool = False
) -> Expectation:
    """Return the expectation for kernels without *feature*, the fix of a bug that a test shows.

    :param match: what the test then says, a regular expression; in other words it shows no bug.
    :param splat: title of the splat that goes with the failure, a regular expression.
    :param sometimes: the failure depends on luck: passing is as good.
    """
    return _fails(f"without the feature {feature}", splat, sometimes=sometimes, match=match)


def _fails(where: str, splat: str | None, *, sometimes: bool, match: str = "") -> Expectation:
    return Expectation(
        outcome=Expected.EITHER if sometimes else Expected.FAILED,
        why=f"{'may fail' if sometimes else 'fails'} {where}",
        splats=(splat,) if splat is not None else (),
        match=match,
    )


def only_from(patch: int | str) -> Expectation:
    """Return the expectation for positions before *patch* of a test that begins to exist there."""
    return Expectation(outcome=Expected.SKIPPED, why=f"only from patch {patch}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Beyond:
    """What a test asks for beyond what the series promises.

    :param weight: of what it would find, one of :data:`harness.results.results.WEIGHTS`.
    """

    reason: str
    weight: str


def beyond(marks: Sequence[Mark]) -> Beyond | None:
    """Return what a test with *marks* asks for beyond the promise; ``None`` when it does not.

    :raises SpecError: when the marker is not used as it is meant to be.
    """
    for mark in marks:
        if mark.name == "beyond":
            try:
                found = Beyond(*mark.args, **dict(mark.kwargs))  # type: ignore[call-overload]
            except TypeError as error:
                raise SpecError(f"marker beyond: {error}") from error
            if not found.reason or found.weight not in WEIGHTS:
                said = f"a reason, and a weight of {', '.join(WEIGHTS)}"
                raise SpecError(f"marker beyond{mark.kwargs}: it takes {said}")
            return found
    return None


def _hangs_on_feature(mark: Mark, has_feature: Callable[[str], bool]) -> Expectation | None:
    """Return that there is nothing to ask, when the kernel has not what the marker names."""
    if len(mark.args) != 1 or not isinstance(mark.args[0], str):
        raise SpecError(f"marker {mark.name}{mark.args}: it takes the name of one feature")
    name = mark.args[0]
    wanted = mark.name == "feature"
    if has_feature(name) is wanted:
        return None
    why = f"only with the feature {name}" if wanted else f"only without the feature {name}"
    return Expectation(outcome=Expected.SKIPPED, why=why)


_STATED: dict[str, Callable[..., Expectation]] = {
    "fails_before": fails_before,
    "fails_without": fails_without,
    "only_from": only_from,
}
"""What each marker states of kernels that lack what it names."""

MARKS = (*_STATED, "feature", "without_feature")
"""The markers that :func:`resolve` reads."""


def resolve(
    marks: Sequence[Mark],
    has_patch: Callable[[int | str], bool],
    has_feature: Callable[[str], bool],
) -> Expectation:
    """Return what is expected of a test with *marks*.

    :param has_patch: whether the kernel under test has a patch of the suite's series.
    :param has_feature: whether it has a feature of the suite.
    :raises SpecError: when a marker is not used as it is meant to be.
    """
    found = []
    for mark in marks:
        if mark.name in ("feature", "without_feature"):
            away = _hangs_on_feature(mark, has_feature)
            found += [away] if away is not None else []
            continue
        if mark.name not in _STATED:
            continue
        try:
            expectation = _STATED[mark.name](*mark.args, **dict(mark.kwargs))  # type: ignore[call-overload]
            which = mark.args[0]
            if mark.name == "fails_without":
                if not isinstance(which, str):
                    raise TypeError("a feature is named by its name")
                lacks = not has_feature(which)
            elif isinstance(which, int | str):
                lacks = not has_patch(which)
            else:
                raise TypeError("a patch is named by its number or its subject")
        except (TypeError, ValueError, IndexError) as error:
            raise SpecError(f"marker {mark.name}{mark.args}: {error}") from error
        if lacks:
            found.append(expectation)
    # There is nothing to ask before there is anything to fail.
    for outcome in (Expected.SKIPPED, Expected.FAILED, Expected.EITHER):
        for expectation in found:
            if expectation.outcome is outcome:
                return expectation
    return EVERYWHERE
