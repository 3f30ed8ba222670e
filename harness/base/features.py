# SPDX-License-Identifier: GPL-2.0-only
"""Features of kernel trees: what differs between kernels, and how a tree shows that it has it.

Everything that depends on the kernel hangs on a feature, nothing on a version: stable trees take
features up, and trees of developers have no version that says anything.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.base.errors import SpecError
from harness.base.strict_yaml import Section


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureSpec:
    """Something that a kernel tree has or has not.

    :param name: words joined by hyphens.
    :param description: what a kernel with it does, one line.
    :param file: a path in the tree that is there, and matches *contains*; empty to ask for
        *symbol* instead.
    :param contains: a regular expression (multi-line) for text of *file*; empty when the file says
        it by being there.
    :param symbol: a Kconfig symbol that the tree has.
    :param macro: what the suite's modules find defined where the tree has it; empty for nothing.
    :param series: whether a tree that has it before any patch is applied has all that the suite's
        series brings.
    :param fixes: the bug that a tree without it has, one line; empty when it fixes none.
    :param fixed_in: the first release with the fix.
    """

    name: str
    description: str
    file: str = ""
    contains: str = ""
    symbol: str = ""
    macro: str = ""
    series: bool = False
    fixes: str = ""
    fixed_in: str = ""

    @property
    def probe(self) -> str:
        """How it is found, in words."""
        if self.symbol:
            return f"there is CONFIG_{self.symbol}"
        return f"{self.file} has {self.contains}" if self.contains else f"there is {self.file}"


def find_feature(features: Sequence[FeatureSpec], name: str, file: Path) -> FeatureSpec:
    """Return the feature called *name*.

    :param file: what says which there are.
    :raises SpecError: when there is none.
    """
    for feature in features:
        if feature.name == name:
            return feature
    known = ", ".join(feature.name for feature in features) or "none"
    raise SpecError(f"no feature {name!r} in {file}", hint=f"its features: {known}")


def read_features(top: Section) -> tuple[FeatureSpec, ...]:
    """Read the mapping ``features`` of a suite: name -> feature.

    :raises SpecError: on anything that is not a feature.
    """
    if "features" not in top:
        return ()
    found = []
    with top.section("features") as section:
        for name in section.keys():  # noqa: SIM118 - a Section is no dict
            if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name):
                raise section.error(name, f"{name!r} is no name", hint="words joined by hyphens")
            with section.section(name) as item:
                found.append(_feature(name, item))
    return tuple(found)


def read_needs(top: Section, features: Sequence[FeatureSpec]) -> tuple[str, ...]:
    """Read the list ``needs`` of a suite.

    :raises SpecError: on a name that is none of *features*.
    """
    needs = top.texts("needs", ())
    for name in needs:
        if name not in {feature.name for feature in features}:
            raise top.error("needs", f"needs: there is no feature {name!r}")
    return needs


def _feature(name: str, item: Section) -> FeatureSpec:
    feature = FeatureSpec(
        name=name,
        description=item.value("description", str),
        file=item.value("file", str, ""),
        contains=item.pattern("contains", ""),
        symbol=item.value("symbol", str, ""),
        macro=item.value("macro", str, ""),
        series=item.value("series", bool, False),
        fixes=item.value("fixes", str, ""),
        fixed_in=item.value("fixed_in", str, ""),
    )
    if bool(feature.file) is bool(feature.symbol):
        raise item.error("description", f"{name} is known by a file or by a symbol, and by one")
    if feature.contains and not feature.file:
        raise item.error("contains", "contains goes with file")
    if bool(feature.fixes) is not bool(feature.fixed_in):
        raise item.error("description", f"{name}: fixes and fixed_in go together")
    if feature.macro and not re.fullmatch(r"[A-Z][A-Z0-9_]*", feature.macro):
        raise item.error("macro", f"{feature.macro!r} is no name of a macro", hint="HAVE_...")
    return feature
