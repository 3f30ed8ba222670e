# SPDX-License-Identifier: GPL-2.0-only
"""Which patches of the suite's series the kernel under test has, and how that is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from harness.base.store import Store
from harness.kernel.apply import AppliedSeries
from harness.kernel.recognise import (
    Known,
    Recognised,
    known_commits,
    known_patches,
    recognise,
)
from harness.kernel.series import Series


@dataclass(frozen=True, slots=True, kw_only=True)
class Presence:
    """Whether the kernel under test has a patch of the suite's series.

    :param number: in the suite's series, as *subject* is.
    :param found: what it was recognised as: a patch of what is under test, or a commit of the
        tree; ``None`` when it is nowhere.
    :param under_test: whether it is a patch of the series under test, applied or not.
    """

    number: int
    subject: str
    has: bool
    found: Recognised | None
    under_test: bool


def is_version_of(own: Series, tested: Series | None) -> bool:
    """Return whether a series has a patch of the suite's.

    Of anything else nobody asks what the suite's series is to bring.
    """
    if tested is None:
        return False
    return bool(recognise(known_patches(own.patches), known_patches(tested.patches)))


def presences(
    suite: Series, applied: AppliedSeries, extra: Sequence[Series], at: int, store: Store
) -> Mapping[int, Presence]:
    """Return what is known of each patch of the suite's series, by its number there.

    They are looked for among the patches on top, in the series under test, then in the tree; the
    tree is asked only for those that are not found before.

    :param at: the position under test.
    """
    wanted = known_patches(suite.patches)
    on_top = [
        replace(known, name=f"{series.origin}: {known.subject}")
        for series in extra
        for known in known_patches(series.patches)
    ]
    found: dict[str, tuple[Recognised, bool, bool]] = {}

    def missing() -> list[Known]:
        return [known for known in wanted if known.name not in found]

    for name, match in recognise(missing(), on_top).items():
        found[name] = (match, True, True)
    if applied.series is not None:
        already = {position.number for position in applied.in_tree}
        for name, match in recognise(missing(), known_patches(applied.series.patches)).items():
            number = int(match.name)
            named = replace(
                match,
                name=f"patch {number} of {applied.series.name}",
                others=tuple(f"patch {each}" for each in match.others),
            )
            found[name] = (named, number in already or number <= at, True)
    if missing():
        commits = known_commits(applied.source, suite.patches, store)
        for name, match in recognise(missing(), commits).items():
            found[name] = (match, True, False)
    nowhere = (None, False, False)
    made = {}
    for patch in suite.patches:
        recognised, has, under_test = found.get(str(patch.number), nowhere)
        made[patch.number] = Presence(
            number=patch.number,
            subject=patch.subject,
            has=has,
            found=recognised,
            under_test=under_test,
        )
    return made
