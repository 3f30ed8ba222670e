# SPDX-License-Identifier: GPL-2.0-only
"""Ask a kernel tree which features it has (:mod:`harness.base.features`)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from harness.base.features import FeatureSpec
from harness.kernel.source import SourceTree, git


def features_of(
    source: SourceTree, features: Sequence[FeatureSpec], commit: str | None = None
) -> frozenset[str]:
    """Return the names of those *features* that a tree has.

    It is the commit that is asked: nothing needs to be checked out.

    :param commit: of the tree's repository; ``None`` is its base.
    """
    at = commit or source.base
    symbols = symbols_of(source, {each.symbol for each in features if each.symbol}, at)
    texts = {file: _text(source, at, file) for file in {each.file for each in features}}
    return frozenset(
        each.name
        for each in features
        if (each.symbol in symbols if each.symbol else _shows(texts[each.file], each.contains))
    )


def symbols_of(source: SourceTree, names: Iterable[str], commit: str | None = None) -> set[str]:
    """Return those of *names* that are Kconfig symbols of a tree, on whatever architecture.

    :param commit: of the tree's repository; ``None`` is its base.
    """
    wanted = "|".join(sorted(names))
    if not wanted:
        return set()
    pattern = rf"^[[:space:]]*(menu)?config[[:space:]]+({wanted})[[:space:]]*$"
    words = ("grep", "-h", "-E", pattern, commit or source.base, "--", "*Kconfig*")
    said = git(source.repo, *words, check=False).stdout
    return {line.split()[1] for line in said.splitlines()}


def _text(source: SourceTree, commit: str, file: str) -> str | None:
    """Return a file's text, ``None`` when the tree has no such file."""
    found = git(source.repo, "show", f"{commit}:{file}", check=False) if file else None
    return found.stdout if found is not None and found.returncode == 0 else None


def _shows(text: str | None, pattern: str) -> bool:
    return text is not None and re.search(pattern, text, re.M) is not None
