# SPDX-License-Identifier: GPL-2.0-only
"""A kernel in one word, where a command takes several: ``KERNEL[:POSITION][+PATCH]...``.

Without a position it is the tree as it is; a position is one of the suite's series, and a patch is
one of the suite's mutants or fixes, which goes on top.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from harness.base.errors import SpecError
from harness.base.settings import settings_of, target_from_settings
from harness.base.spec import Target
from harness.base.suite import Suite, load_suite

_NAME = re.compile(r"(?P<kernel>.+?)(:(?P<position>\d+))?(?P<patches>(\+[a-z0-9-]+)*)")


def target_named(text: str, like: Target) -> Target:
    """Return *like* with the kernel that *text* names.

    :raises SpecError: when the suite has no series to take a position of, or no such patch.
    """
    match = _NAME.fullmatch(text)
    if match is None:
        raise SpecError(f"{text!r} names no kernel", hint="such as 7.0.13, 7.0.13:11 or ~/linux:3")
    suite = load_suite(like.suite)
    settings = {name: value for name, value in settings_of(like).items() if name not in _OWN}
    settings |= {"kernel": match["kernel"], "series": "none", "position": match["position"] or "0"}
    if match["position"] is not None:
        if suite.series is None:
            raise SpecError(f"{text}: the suite {suite.name} has no series", hint="leave :N out")
        settings["series"] = suite.series
    if match["patches"]:
        names = match["patches"][1:].split("+")
        settings["extra"] = os.pathsep.join(str(_patch(suite, name)) for name in names)
    return target_from_settings(settings.get)


_OWN = ("base", "extra")
"""Settings of a kernel that a name says nothing of."""


def patch_name(file: Path) -> str:
    """Return what a mutant or a fix is called: its file may have a number before that."""
    return re.sub(r"^\d+-", "", file.stem)


def _patch(suite: Suite, name: str) -> Path:
    """Return the file of a mutant or a fix."""
    directories = [each for each in (suite.mutants, suite.fixes) if each is not None]
    for directory in directories:
        for path in sorted(directory.glob("*.patch")):
            if patch_name(path) == name:
                return path
    where = " and ".join(str(each) for each in directories)
    raise SpecError(
        f"there is no mutant and no fix {name!r}",
        hint=f"they are in {where}" if where else "the keys 'mutants' and 'fixes' of suite.yaml",
    )
