# SPDX-License-Identifier: GPL-2.0-only
"""Which of the mails of a thread, or of a mailbox, are the series: the newest re-roll.

A *set* is the mails of one re-roll of one series.  When only some parts were sent again, in reply
to those of the re-roll before, the others are taken from there, as ``b4 am`` does.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from harness.base.errors import SeriesError
from harness.kernel.mail import Mail, changes
from harness.kernel.subject import Version
from harness.kernel.thread import LeftOut, PatchSet, Thread, parts, patches_said, sets_of

NO_PATCH = "a patch is a mail with a diff, and mostly with '[PATCH' in its subject"
"""What to say where there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reroll:
    """The mails that make a series.

    :param patches: in their order.
    :param combined: whether some are an older re-roll's.
    :param taken: which they are, for people.
    """

    version: Version
    cover: Mail | None
    patches: tuple[Mail, ...]
    taken: str
    left_out: tuple[LeftOut, ...]
    combined: bool = False


def choose_reroll(mails: Sequence[Mail], location: str) -> Reroll:
    """Return the newest re-roll that is whole, or that older ones make whole.

    Replies and other mail are ignored; when nothing says that it is a patch, every mail that
    changes something is one.

    :raises SeriesError: when there is none, or when there are several series.
    """
    thread = Thread(mails)
    patches, covers = _patches_of(mails, location)
    sets, asides = sets_of(patches, covers, thread)
    problems: list[str] = []
    for version in sorted({each.version for each in sets}, reverse=True):
        own = [each for each in sets if each.version == version]
        whole = [made for each in own if not (made := _made_whole(each, sets, thread)).problem]
        others = [each for each in sets if not each.problem and each.version < version]
        whole += [other for other in others if whole and not _related(whole[0], other, thread)]
        again = [each for each in whole if each.resent]
        whole = again if len(again) == 1 else whole
        if len(whole) > 1:
            raise _several(whole, location)
        if whole:
            left = _left_out(whole[0], sets, thread)
            return _reroll(whole[0], (*left, *asides))
        problems += [f"{each.version}: {_made_whole(each, sets, thread).problem}" for each in own]
    raise SeriesError(
        f"{location} is not a whole series: {'; '.join(problems)}"
        + "".join(f"; {aside.what} {aside.why}" for aside in asides),
        hint="give the whole thread, as 'b4 mbox' saves it",
    )


def patches_in(mails: Iterable[Mail]) -> list[Mail]:
    """Return the mails that are patches: those that say so, else those that change something.

    A reply is one when there is nothing else.
    """
    found = list(mails)
    for tier in (
        [mail for mail in found if mail.is_patch],
        [mail for mail in found if mail.has_diff and not mail.line.reply and not mail.is_cover],
        [mail for mail in found if mail.has_diff and not mail.is_cover],
    ):
        if tier:
            return tier
    return []


def _patches_of(mails: Sequence[Mail], location: str) -> tuple[list[Mail], list[Mail]]:
    patches = _once(patches_in(mails))
    if not patches:
        raise SeriesError(f"{location} holds no patch", hint=NO_PATCH)
    covers = [mail for mail in mails if mail.is_cover and not mail.line.reply]
    return patches, list({(m.line.version, m.line.total, m.line.text): m for m in covers}.values())


def _once(patches: Iterable[Mail]) -> list[Mail]:
    """Return each patch once: a list sends copies, with a footer, and writes its name before it."""
    found: dict[object, Mail] = {}
    for mail in patches:
        line = mail.line
        key = (line.version, line.number, line.total, line.text.casefold(), changes(mail.body))
        if key not in found or len(mail.body) < len(found[key].body):
            found[key] = mail
    return list(found.values())


# -- re-rolls ----------------------------------------------------------------------------------


def _made_whole(each: PatchSet, sets: Sequence[PatchSet], thread: Thread) -> PatchSet:
    """Return a set with the parts that it lacks from the re-roll before, when it answers that.

    That is b4's rule: every part that was sent again answers, perhaps by way of other mails, an
    older part of the same number in a series of the same size.
    """
    if not each.lacks:
        return each
    before = [other for other in sets if other.version < each.version]
    previous = max((other.version for other in before), default=None)
    if previous is None or previous.major < each.version.major - 1:
        return each
    for other in before:
        if other.version != previous or other.total != each.total:
            continue
        whole = _made_whole(other, sets, thread)
        answers = all(
            any(_same_part(mail, above) for above in thread.above(mail))
            for mail in each.patches.values()
        )
        if whole.problem:
            continue
        if not answers:
            sent = parts(each.patches)
            problem = f"{each.problem}, and {sent} is no reply to {sent} of {previous}"
            return replace(each, problem=problem)
        kept = {n: mail for n, mail in whole.patches.items() if n not in each.patches}
        return replace(
            each,
            cover=each.cover or whole.cover,
            patches=dict(sorted({**kept, **each.patches}.items())),
            problem="",
            older={n: whole.older.get(n, whole.version) for n in kept},
        )
    return each


def _same_part(mail: Mail, above: Mail) -> bool:
    return (above.line.number, above.line.total) == (mail.line.number, mail.line.total)


def _related(one: PatchSet, other: PatchSet, thread: Thread) -> bool:
    """Return whether two sets are re-rolls of one series, as far as one can see."""
    return any(
        {key(mail) for mail in one.mails} & {key(mail) for mail in other.mails}
        for key in (
            thread.root,
            lambda mail: mail.author,
            lambda mail: mail.line.text.casefold(),
        )
    )


def _several(sets: Sequence[PatchSet], location: str) -> SeriesError:
    names = " and ".join(f'"{each.title}" ({each.said})' for each in sets)
    return SeriesError(
        f"{location} holds {len(sets)} series: {names}", hint="give the mails of one of them alone"
    )


def _left_out(taken: PatchSet, sets: Sequence[PatchSet], thread: Thread) -> list[LeftOut]:
    found = []
    for each in sets:
        if each.version == taken.version and set(each.mails) <= set(taken.mails):
            continue
        part_of = each.version in taken.older.values()
        why = _made_whole(each, sets, thread).problem
        if not why and each.version == taken.version and taken.resent:
            why = "it was sent again"
        if not why and each.version < taken.version:
            why = f"{taken.version} has newer ones" if part_of else f"{taken.version} is newer"
        numbers = [n for n, mail in each.patches.items() if mail not in taken.patches.values()]
        what = f"{each.version}, {parts(numbers)} of {each.total}" if part_of else each.said
        if numbers:
            found.append(LeftOut(what=what, why=why or "it is another series"))
    return found


def _reroll(taken: PatchSet, left_out: Sequence[LeftOut]) -> Reroll:
    said = f"{taken.version}, {patches_said(len(taken.patches))}"
    for version in sorted(set(taken.older.values()), reverse=True):
        said += f"; {parts(n for n in taken.older if taken.older[n] == version)} of {version}"
    return Reroll(
        version=taken.version,
        cover=taken.cover,
        patches=tuple(
            replace(mail, line=replace(mail.line, number=number))
            for number, mail in sorted(taken.patches.items())
        ),
        taken=said,
        left_out=tuple(left_out),
        combined=bool(taken.older),
    )
