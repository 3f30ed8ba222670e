# SPDX-License-Identifier: GPL-2.0-only
"""The mails of a thread, or of a mailbox, told apart: those of each re-roll of each series."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from harness.base.text import plural
from harness.kernel.mail import Mail
from harness.kernel.subject import Version


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """Patches that are not part of the series that was taken, and *why*."""

    what: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchSet:
    """The mails of one re-roll of one series.

    :param total: how many patches it should have, 0 when nothing says.
    :param problem: why they are no whole series; empty when they are.
    :param older: numbers of the parts that are an older re-roll's, and its name.
    """

    version: Version
    cover: Mail | None
    patches: Mapping[int, Mail]
    total: int
    problem: str
    older: Mapping[int, Version]

    @property
    def mails(self) -> tuple[Mail, ...]:
        return (*((self.cover,) if self.cover is not None else ()), *self.patches.values())

    @property
    def title(self) -> str:
        first = self.cover or next(iter(self.patches.values()), None)
        return first.line.text if first is not None else ""

    @property
    def lacks(self) -> list[int]:
        """The numbers of parts that are missing."""
        return sorted(set(range(1, self.total + 1)) - set(self.patches))

    @property
    def resent(self) -> bool:
        """Whether all of it says that it was sent before."""
        return all(mail.line.resent for mail in self.patches.values())

    @property
    def said(self) -> str:
        """The set as messages name it."""
        if self.lacks:
            return f"{self.version}, {parts(self.patches)} of {self.total}"
        return f"{self.version}, {patches_said(len(self.patches))}"


class Thread:
    """Which mail answers which."""

    def __init__(self, mails: Iterable[Mail]) -> None:
        self._known = {mail.message_id: mail for mail in mails if mail.message_id}

    def above(self, mail: Mail) -> list[Mail]:
        """Return the mails that a mail answers, the nearest first."""
        found: dict[str, Mail] = {}
        waiting = list(mail.parents)
        while waiting:
            parent = self._known.get(waiting.pop(0))
            if parent is not None and parent.message_id not in found:
                found[parent.message_id] = parent
                waiting += parent.parents
        return [each for each in found.values() if each is not mail]

    def root(self, mail: Mail) -> str:
        """Return the id of the first mail of a thread; empty when a mail says nothing of it."""
        above = self.above(mail)
        last = above[-1] if above else mail
        return last.parents[-1] if last.parents else last.message_id


def sets_of(
    patches: Sequence[Mail], covers: Sequence[Mail], thread: Thread
) -> tuple[list[PatchSet], list[LeftOut]]:
    """Return the sets, and the patches that belong to none."""
    asides: list[LeftOut] = []
    sets: list[PatchSet] = []
    totals = {mail.line.total for mail in (*patches, *covers)} - {0}
    for version in sorted({mail.line.version for mail in patches}):
        own = [mail for mail in patches if mail.line.version == version]
        letters = [mail for mail in covers if mail.line.version == version]
        numbered = [mail for mail in own if mail.line.total]
        loose = [mail for mail in own if not mail.line.total]
        groups = [
            group
            for total in sorted({mail.line.total for mail in numbered})
            for group in _apart([m for m in numbered if m.line.total == total], thread)
        ]
        made = [_set(version, group, letters, thread) for group in groups]
        rest = []
        for mail in loose:
            made, fits = _put_in(made, mail)
            if not fits:
                rest.append(mail)
        if rest and not made:
            alone = rest
            if totals and not letters:
                alone, rest = _loose(version, rest, patches, thread)
            else:
                rest = []
            if alone:
                made.append(_set(version, alone, letters, thread))
        asides += [_aside(mail) for mail in rest]
        sets += made
    return sets, asides


def _aside(mail: Mail) -> LeftOut:
    version = f" ({mail.line.version})" if mail.line.version != Version() else ""
    why = "has no number, and the others have"
    if mail.line.numbered:
        why = "is of a series that has its parts already"
    return LeftOut(what=f'"{mail.line.text}"{version}', why=why)


def _put_in(sets: Sequence[PatchSet], mail: Mail) -> tuple[list[PatchSet], bool]:
    """Put a part that says its number alone, such as ``1/n``, where there is room for it."""
    fitting = [
        each
        for each in sets
        if mail.line.numbered
        and mail.line.number not in each.patches
        and mail.line.number <= each.total
    ]
    if len(fitting) != 1:
        return list(sets), False
    found = fitting[0]
    numbers = sorted({*found.patches, mail.line.number})
    patches = {n: mail if n == mail.line.number else found.patches[n] for n in numbers}
    made = replace(found, patches=patches, problem=_missing(patches, found.total))
    return [made if each is found else each for each in sets], True


def _loose(
    version: Version,
    mails: Sequence[Mail],
    patches: Sequence[Mail],
    thread: Thread,
) -> tuple[list[Mail], list[Mail]]:
    """Return those of the unnumbered patches that are a re-roll of their own, and the others.

    In the thread of a numbered series a patch without a number is somebody's suggestion, unless it
    is a part that was sent again, or answers the cover letter of an older re-roll.
    """
    parts = [mail for mail in patches if mail.line.total]
    older = [mail for mail in parts if mail.line.version < version]
    found, others = [], []
    for mail in mails:
        above = thread.above(mail)
        same = [part for part in older if part.line.text.casefold() == mail.line.text.casefold()]
        answered = [part for part in older if part in above]
        if same or (answered and answered[0].author == mail.author):
            part = (same or answered)[0]
            line = replace(mail.line, number=part.line.number, total=part.line.total, numbered=True)
            found.append(replace(mail, line=line))
        elif older and not answered:
            found.append(mail)
        else:
            others.append(mail)
    return found, others


def _apart(mails: Sequence[Mail], thread: Thread) -> list[list[Mail]]:
    """Return mails of one version and one total as those of one series each."""
    if not _clash(mails):
        return [list(mails)]
    for key in (
        lambda mail: mail.line.resent,
        thread.root,
        lambda mail: mail.parents[:1] if mail.line.number > 1 else (mail.message_id,),
        lambda mail: mail.author,
    ):
        groups: dict[object, list[Mail]] = {}
        for mail in mails:
            groups.setdefault(key(mail), []).append(mail)
        if len(groups) > 1 and not any(_clash(group) for group in groups.values()):
            return list(groups.values())
    return [list(mails)]


def _clash(mails: Sequence[Mail]) -> bool:
    numbers = [mail.line.number for mail in mails]
    return len(set(numbers)) < len(numbers)


def _set(
    version: Version, mails: Sequence[Mail], covers: Sequence[Mail], thread: Thread
) -> PatchSet:
    total = max(mail.line.total for mail in mails)
    fitting = [cover for cover in covers if cover.line.total in (0, total) or not total]
    near = [c for c in fitting if any(thread.root(c) == thread.root(m) for m in mails)]
    cover = next(iter(near or fitting), None)
    if total == 0:
        total = max((c.line.total for c in (cover,) if c is not None), default=0)
        if not all(mail.line.numbered for mail in mails) or _clash(mails):
            patches = dict(enumerate(mails, 1))
        else:
            patches = {m.line.number: m for m in sorted(mails, key=lambda m: m.line.number)}
        problem = _missing(patches, total)
    else:
        patches = {m.line.number: m for m in sorted(mails, key=lambda m: m.line.number)}
        numbers = [mail.line.number for mail in mails]
        twice = sorted({number for number in numbers if numbers.count(number) > 1})
        problem = f"part {twice[0]} is there twice, and differs" if twice else ""
        problem = _missing(patches, total) or problem
    return PatchSet(
        version=version, cover=cover, patches=patches, total=total, problem=problem, older={}
    )


def _missing(patches: Mapping[int, Mail], total: int) -> str:
    missing = sorted(set(range(1, total + 1)) - set(patches))
    return f"{parts(missing)} of {total} missing" if missing else ""


def parts(numbers: Iterable[int]) -> str:
    found = sorted(numbers)
    return f"part{'' if len(found) == 1 else 's'} {', '.join(map(str, found))}"


def patches_said(count: int) -> str:
    return plural(count, "patch") if count == 1 else f"{count} patches"
