# SPDX-License-Identifier: GPL-2.0-only
"""Of a thread or a mailbox the newest re-roll is taken, and what is left out is named."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from patches import diff, mail, mbox

from harness.base.errors import SeriesError
from harness.kernel.series import Series, read_series


def posted(
    subject: str,
    own: str,
    *,
    to: str = "",
    new: str = "",
    author: str = "author@example.com",
    body: str | None = None,
    footer: str = "",
) -> str:
    """Return a mail with an id, perhaps in reply to another.

    :param new: what it changes, for patches of the same subject that differ.
    """
    headers = f"Message-ID: <{own}@x>\n" + (f"In-Reply-To: <{to}@x>\n" if to else "")
    text = diff(new=new or subject.rpartition("]")[2].strip()) if body is None else body
    made = mail(subject, text, headers).replace("author@example.com", author)
    return made.rstrip() + "\n" + footer + "\n\n"


def read(tmp_path: Path, mails: Sequence[str]) -> Series:
    return read_series(mbox(tmp_path / "thread.mbox", *mails))


def subjects(series: Series) -> list[str]:
    return [patch.subject for patch in series.patches]


def left_out(series: Series) -> list[tuple[str, str]]:
    return [(each.what, each.why) for each in series.left_out]


def first_round(total: int = 3, tags: str = "PATCH", name: str = "a") -> list[str]:
    return [
        posted(f"[{tags} {n}/{total}] {name}{n}", f"{name}{n}", to=f"{name}1" if n > 1 else "")
        for n in range(1, total + 1)
    ]


@pytest.mark.parametrize(
    "tags",
    [
        "PATCHv2 {}/2",
        "PATCH v2 {}/2",
        "RFC v2 {}/2",
        "v2 PATCH {}/2",
        "net-next,v2,{}/2",
        "PATCH {} of 2 V2",
    ],
)
@pytest.mark.parametrize("threaded", [True, False])
def test_newest_reroll_wins_in_every_numbering(tmp_path: Path, tags: str, threaded: bool) -> None:
    newer = [
        posted(f"[{tags.format(n)}] b{n}", f"b{n}", to="a1" if threaded else "") for n in (1, 2)
    ]
    series = read(tmp_path, [*first_round(2), *newer])
    assert (series.version, subjects(series)) == (2, ["b1", "b2"])
    assert (series.taken, left_out(series)) == (
        "v2, 2 patches",
        [("v1, 2 patches", "v2 is newer")],
    )


def test_newest_reroll_is_not_that_of_the_highest_digit(tmp_path: Path) -> None:
    mails = [posted(f"[PATCH v{n}] mm: one", f"m{n}", new=f"v{n}") for n in (9, 10, 2)]
    assert read(tmp_path, mails).version == 10


# -- some parts were sent again -----------------------------------------------------------------


def test_part_sent_again_takes_the_others_from_before(tmp_path: Path) -> None:
    again = posted("[PATCH v2 3/3] a3", "b3", to="a3", new="better")
    series = read(tmp_path, [*first_round(), again])
    assert (series.version, subjects(series)) == (2, ["a1", "a2", "a3"])
    assert b"+better" in series.patches[2].mail
    assert series.taken == "v2, 3 patches; parts 1, 2 of v1"
    assert left_out(series) == [("v1, part 3 of 3", "v2 has newer ones")]


def test_part_sent_again_may_answer_a_review(tmp_path: Path) -> None:
    review = posted("Re: [PATCH 3/3] a3", "r", to="a3", body="No.")
    again = posted("[PATCH v2 3/3] a3", "b3", to="r", new="better")
    series = read(tmp_path, [*first_round(), review, again])
    assert series.taken == "v2, 3 patches; parts 1, 2 of v1"


def test_parts_sent_again_and_again(tmp_path: Path) -> None:
    mails = [
        *first_round(),
        posted("[PATCH v2 2/3] a2", "b2", to="a2", new="second"),
        posted("[PATCH v3 3/3] a3", "c3", to="a3", new="third"),
    ]
    series = read(tmp_path, mails)
    assert series.taken == "v3, 3 patches; part 2 of v2; part 1 of v1"
    assert [b"+second" in series.patches[1].mail, b"+third" in series.patches[2].mail] == [True] * 2


def test_minor_reroll_of_one_part(tmp_path: Path) -> None:
    again = posted("[PATCH v1.1 2/3] a2", "b2", to="a2", new="better")
    series = read(tmp_path, [*first_round(), again])
    assert series.taken == "v1.1, 3 patches; parts 1, 3 of v1"


@pytest.mark.parametrize("tags", ["PATCH v2", "PATCHv2", "RFC v2"])
def test_part_sent_again_without_its_number(tmp_path: Path, tags: str) -> None:
    again = posted(f"[{tags}] a3", "b3", to="a3", new="better")
    series = read(tmp_path, [*first_round(), again])
    assert series.taken == "v2, 3 patches; parts 1, 2 of v1"
    assert left_out(series) == [("v1, part 3 of 3", "v2 has newer ones")]


@pytest.mark.parametrize(
    ("to", "why"),
    [
        ("", "parts 1, 2 of 3 missing, and part 3 is no reply to part 3 of v1"),
        ("a2", "parts 1, 2 of 3 missing, and part 3 is no reply to part 3 of v1"),
        ("nowhere", "parts 1, 2 of 3 missing, and part 3 is no reply to part 3 of v1"),
    ],
)
def test_part_that_answers_no_other_is_named(tmp_path: Path, to: str, why: str) -> None:
    again = posted("[PATCH v2 3/3] a3", "b3", to=to, new="better")
    series = read(tmp_path, [*first_round(), again])
    assert (series.version, series.taken) == (1, "v1, 3 patches")
    assert left_out(series) == [("v2, part 3 of 3", why)]


def test_part_of_another_total_is_named(tmp_path: Path) -> None:
    again = posted("[PATCH v2 3/4] a3", "b3", to="a3", new="better")
    series = read(tmp_path, [*first_round(), again])
    assert (series.version, left_out(series)) == (
        1,
        [("v2, part 3 of 4", "parts 1, 2, 4 of 4 missing")],
    )


def test_part_of_a_reroll_whose_predecessor_is_not_there_is_named(tmp_path: Path) -> None:
    again = posted("[PATCH v3 3/3] a3", "c3", to="a3", new="better")
    series = read(tmp_path, [*first_round(), again])
    assert (series.version, left_out(series)) == (
        1,
        [("v3, part 3 of 3", "parts 1, 2 of 3 missing")],
    )


def test_part_sent_again_of_a_series_that_is_not_whole(tmp_path: Path) -> None:
    again = posted("[PATCH v2 3/3] a3", "b3", to="a3", new="better")
    with pytest.raises(SeriesError, match=r"v2: parts 1, 2 of 3 missing; v1: part 2 of 3 missing"):
        read(tmp_path, [first_round()[0], first_round()[2], again])


def test_resent_part_fills_the_gap(tmp_path: Path) -> None:
    one, _, three = first_round()
    again = posted("[RESEND PATCH 2/3] a2", "again", to="a1")
    assert subjects(read(tmp_path, [one, three, again])) == ["a1", "a2", "a3"]


def test_resent_series_wins_where_it_differs(tmp_path: Path) -> None:
    again = [posted(f"[RESEND PATCH {n}/2] a{n}", f"b{n}", new="rebased") for n in (1, 2)]
    series = read(tmp_path, [*first_round(2), *again])
    assert b"+rebased" in series.patches[0].mail
    assert left_out(series) == [("v1, 2 patches", "it was sent again")]


def test_squashed_reroll_in_a_thread_of_its_own(tmp_path: Path) -> None:
    series = read(tmp_path, [*first_round(), posted("[PATCH v2] all at once", "b")])
    assert (series.version, subjects(series)) == (2, ["all at once"])


# -- one of several mails, or series ------------------------------------------------------------


def test_suggestion_in_the_thread_is_named(tmp_path: Path) -> None:
    aside = posted("[PATCH] something else", "s", to="a2", author="reviewer@example.com")
    series = read(tmp_path, [*first_round(), aside])
    assert left_out(series) == [('"something else"', "has no number, and the others have")]


def test_newer_suggestion_of_a_reviewer_is_no_reroll(tmp_path: Path) -> None:
    aside = posted("[PATCH v2] something else", "s", to="a2", author="reviewer@example.com")
    series = read(tmp_path, [*first_round(), aside])
    assert (series.version, len(series.patches), len(series.left_out)) == (1, 3, 1)


@pytest.mark.parametrize("second", ["list", "plain"])
@pytest.mark.parametrize("same_id", [True, False])
def test_copy_with_a_footer_of_a_list_is_the_same_mail(
    tmp_path: Path, second: str, same_id: bool
) -> None:
    footer = "_______________\nsome-list mailing list\nhttp://lists.example.org/some-list\n"
    copies = [
        posted(f"[some-list] [PATCH {n}/2] a{n}", f"a{n}" if same_id else f"c{n}", footer=footer)
        for n in (1, 2)
    ]
    mails = [*first_round(2), *copies] if second == "list" else [*copies, *first_round(2)]
    series = read(tmp_path, mails)
    assert (subjects(series), left_out(series)) == (["a1", "a2"], [])
    assert b"some-list" not in series.patches[0].mail


def test_two_series_of_one_version_are_told_apart_and_refused(tmp_path: Path) -> None:
    with pytest.raises(SeriesError) as caught:
        read(tmp_path, [*first_round(2), *first_round(2, name="b")])
    assert caught.value.message.endswith(
        'holds 2 series: "a1" (v1, 2 patches) and "b1" (v1, 2 patches)'
    )
    assert "one of them" in (caught.value.hint or "")


def test_two_series_of_different_length_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SeriesError, match="holds 2 series"):
        read(tmp_path, [*first_round(2), *first_round(3, name="b")])


def test_series_of_somebody_else_is_not_an_older_reroll(tmp_path: Path) -> None:
    other = [
        posted(f"[PATCH v2 {n}/2] b{n}", f"b{n}", to="b1" if n > 1 else "", author="b@example.com")
        for n in (1, 2)
    ]
    with pytest.raises(SeriesError, match="holds 2 series"):
        read(tmp_path, [*first_round(2), *other])


def test_whole_one_of_two_series_is_taken(tmp_path: Path) -> None:
    series = read(tmp_path, [*first_round(2), *first_round(2, name="b")[:1]])
    assert (subjects(series), left_out(series)) == (
        ["a1", "a2"],
        [("v1, part 1 of 2", "part 2 of 2 missing")],
    )


def test_cover_letter_goes_with_its_own_series(tmp_path: Path) -> None:
    covers = [
        posted(f"[PATCH v{v} 0/{n}] cover {v}", f"cover{v}", body="Story.")
        for v, n in ((1, 3), (2, 2))
    ]
    newer = [posted(f"[PATCH v2 {n}/2] b{n}", f"b{n}", to="cover2") for n in (1, 2)]
    series = read(tmp_path, [*first_round(), *reversed(covers), *newer])
    assert (series.title, series.version) == ("cover 2", 2)


# -- numbers by halves, and none ----------------------------------------------------------------


@pytest.mark.parametrize("tags", ["PATCH 2", "PATCH 2/n", "PATCH 2/?", "PATCH 2/"])
def test_part_with_half_a_number_has_its_place(tmp_path: Path, tags: str) -> None:
    one, _, three = first_round()
    half = posted(f"[{tags}] a2", "a2", to="a1")
    assert subjects(read(tmp_path, [one, three, half])) == ["a1", "a2", "a3"]


def test_parts_with_half_numbers_are_in_their_order(tmp_path: Path) -> None:
    mails = [posted(f"[PATCH {n}/n] a{n}", f"a{n}") for n in (2, 3, 1)]
    assert subjects(read(tmp_path, mails)) == ["a1", "a2", "a3"]


def test_part_that_lacks_its_number_is_named_where_one_is_missing(tmp_path: Path) -> None:
    one, _, three = first_round()
    with pytest.raises(SeriesError, match='part 2 of 3 missing; "a2" has no number'):
        read(tmp_path, [one, posted("[PATCH] a2", "a2", to="a1"), three])


@pytest.mark.parametrize("subject", ["mm: one", "[bug] mm: one"])
def test_mail_with_a_diff_is_a_patch_where_nothing_says_so(tmp_path: Path, subject: str) -> None:
    review = posted(f"Re: {subject}", "r", to="a", body="Fine.")
    series = read(tmp_path, [posted(subject, "a"), review])
    assert subjects(series) == [subject]


def test_reply_with_a_diff_is_a_patch_where_there_is_no_other(tmp_path: Path) -> None:
    mails = [posted("mm: broken", "a", body="Look."), posted("Re: mm: broken", "b", to="a")]
    assert subjects(read(tmp_path, mails)) == ["mm: broken"]
