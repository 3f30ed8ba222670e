# SPDX-License-Identifier: GPL-2.0-only
"""Which features of a suite the commits of a tree have, each asked once."""

from __future__ import annotations

from harness.base.errors import SpecError
from harness.base.suite import Suite
from harness.kernel.features import features_of
from harness.kernel.source import SourceTree


class Features:
    """The features that a suite names, in one kernel tree."""

    def __init__(self, source: SourceTree, suite: Suite) -> None:
        self._source = source
        self._suite = suite
        self._known: dict[str, frozenset[str]] = {}

    def of(self, commit: str) -> frozenset[str]:
        """Return the names of the features that a commit has."""
        if commit not in self._known:
            self._known[commit] = features_of(self._source, self._suite.features, commit)
        return self._known[commit]

    def has(self, name: str, commit: str) -> bool:
        """Return whether a commit has a feature.

        :raises SpecError: when the suite has none of that name.
        """
        return self._suite.feature(name).name in self.of(commit)

    def macros(self, commit: str) -> tuple[str, ...]:
        """Return what the suite's modules find defined at a commit."""
        has = self.of(commit)
        return tuple(each.macro for each in self._suite.features if each.macro and each.name in has)

    @property
    def base_has_the_series(self) -> bool:
        """Whether the tree shows, before any patch, that all of the suite's series is in it."""
        has = self.of(self._source.base)
        return any(each.series and each.name in has for each in self._suite.features)

    def check_needs(self) -> None:
        """Refuse a tree that lacks what the suite needs.

        :raises SpecError: saying what that is, and how it is known.
        """
        has = self.of(self._source.base)
        for name in self._suite.needs:
            if name not in has:
                feature = self._suite.feature(name)
                raise SpecError(
                    f"Linux {self._source.version} ({self._source.label}) cannot be tested by the "
                    f"suite {self._suite.name}, it lacks {name}: {feature.description}",
                    hint=f"a tree that has it is known like this: {feature.probe}",
                )
