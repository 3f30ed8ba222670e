# SPDX-License-Identifier: GPL-2.0-only
"""Which wrong changes are made of a suite's C files: operators, and the names they are for.

The operators know C and the kernel's idioms; which functions take and give references, or keep
lists, is the suite's word.  :mod:`harness.search.mutate` makes the changes.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.base.strict_yaml import Section

OPERATORS = (
    "drop",
    "double",
    "instead",
    "rename",
    "unlock",
    "errno",
    "assign",
    "cleanup",
    "swap",
)
"""What can be done wrong, in the order in which it is tried; :class:`MutationSpec` explains."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SwapSpec:
    """Two statements whose order matters.

    :param function: that they are in.
    :param first: a regular expression for the one that comes first.
    :param second: for the other one.
    """

    function: str
    first: str
    second: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MutationSpec:
    """What is changed; regular expressions are for whole names, but for *assign*.

    :param files: paths in the kernel tree.
    :param drop: functions whose calls, as statements, are left out one at a time.
    :param double: functions whose calls are made twice.
    :param instead: function -> what stands in its place where its value is used.
    :param rename: name -> the name that it is taken for.
    :param locks: function that locks -> the one that unlocks; both go.  ``guard()`` and
        ``scoped_guard()`` are known.
    :param assign: for what is assigned to, where it is to be left out.
    :param swap: statements that change places.
    :param profiles: operator, or mutant's name with ``*`` for any text -> the profile that can
        notice it, instead of ``default``; the first that fits.
    :param first: the same -> a regular expression for tests that are tried before shorter ones.
    :param at_reboot: functions that run on the way to the next kernel, or while it boots and may
        die of it: what gcov counts there is lost with the kernel that counted.
    :param equivalent: a file that says which changes make no difference, or ``None``.
    """

    files: tuple[str, ...]
    drop: tuple[str, ...]
    double: tuple[str, ...]
    instead: Mapping[str, str]
    rename: Mapping[str, str]
    locks: Mapping[str, str]
    assign: tuple[str, ...]
    swap: tuple[SwapSpec, ...]
    profiles: Mapping[str, str]
    first: Mapping[str, str]
    at_reboot: tuple[str, ...]
    equivalent: Path | None

    def profile_of(self, mutant: str, operator: str) -> str:
        """Return the profile that can notice a mutant."""
        return _of(self.profiles, mutant, operator) or "default"

    def first_of(self, mutant: str, operator: str) -> str:
        """Return a regular expression for the tests that are tried first; empty for none."""
        return _of(self.first, mutant, operator)

    def runs_at_reboot(self, function: str) -> bool:
        """Return whether a function runs on the way to the next kernel, or while that boots."""
        return any(re.fullmatch(pattern, function) for pattern in self.at_reboot)


def _of(mapping: Mapping[str, str], mutant: str, operator: str) -> str:
    """Return what the first name that fits stands for; empty when none does."""
    for name, value in mapping.items():
        if name == operator or fnmatch.fnmatchcase(mutant, name):
            return value
    return ""


def read_mutation(section: Section, equivalent: Path | None) -> MutationSpec:
    """Read the mapping ``mutation`` of a suite.

    :param equivalent: the file of its key of that name.
    :raises SpecError: naming file and line, on anything that is not as it should be.
    """
    profiles, first = section.mapping("profiles", {}), section.pattern_mapping("first", {})
    for key, mapping in (("profiles", profiles), ("first", first)):
        for name in mapping:
            if name not in OPERATORS and "." not in name:
                known = ", ".join(OPERATORS)
                hint = f"known: {known}; or names of mutants, with * and a dot: *.drop.kfree"
                raise section.error(key, f"there is no operator {name!r}", hint=hint)
    locks = section.mapping("locks", {})
    for name, other in [*locks.items(), *section.mapping("rename", {}).items()]:
        for word in (name, other):
            if not re.fullmatch(r"\w+", word):
                raise section.error("files", f"{word!r} is no name of C")
    swaps = []
    for item in section.sections("swap"):
        with item:
            swaps.append(
                SwapSpec(
                    function=item.value("function", str),
                    first=item.pattern("first"),
                    second=item.pattern("second"),
                )
            )
    return MutationSpec(
        files=section.texts("files"),
        drop=section.patterns("drop", ()),
        double=section.patterns("double", ()),
        instead=section.mapping("instead", {}),
        rename=section.mapping("rename", {}),
        locks=locks,
        assign=section.patterns("assign", ()),
        swap=tuple(swaps),
        profiles=profiles,
        first=first,
        at_reboot=section.patterns("at_reboot", ()),
        equivalent=equivalent,
    )
