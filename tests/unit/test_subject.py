# SPDX-License-Identifier: GPL-2.0-only
"""Subjects say number, re-roll and title in as many ways as there are lists."""

from __future__ import annotations

import pytest

from harness.kernel.subject import Version, read_subject


@pytest.mark.parametrize(
    ("tags", "number", "total", "version"),
    [
        ("[PATCH]", None, 0, "v1"),
        ("[PATCH 1/2]", 1, 2, "v1"),
        ("[PATCH v4 00/11]", 0, 11, "v4"),
        ("[PATCHv2]", None, 0, "v2"),
        ("[PATCHv2 01/10]", 1, 10, "v2"),
        ("[PATCH-next v2]", None, 0, "v2"),
        ("[PATCHSET v2 0/3]", 0, 3, "v2"),
        ("[RFC]", None, 0, "v1"),
        ("[RFC 1/5]", 1, 5, "v1"),
        ("[RFC v2]", None, 0, "v2"),
        ("[RFCv3 2/3]", 2, 3, "v3"),
        ("[RFC PATCH]", None, 0, "v1"),
        ("[RFC][PATCH v4 2/7]", 2, 7, "v4"),
        ("[PATCH/RFC v2 1/2]", 1, 2, "v2"),
        ("[PATCH,RFC,V3,1/3]", 1, 3, "v3"),
        ("[v2 PATCH 2/3]", 2, 3, "v2"),
        ("[patch V2 1/2]", 1, 2, "v2"),
        ("[PATCH v2, 1/2]", 1, 2, "v2"),
        ("[PATCH (v2) 1/3]", 1, 3, "v2"),
        ("[ PATCH v2 1/2 ]", 1, 2, "v2"),
        ("[PATCH] [v2] [1/2]", 1, 2, "v2"),
        ("[RESEND][PATCH][v2]", None, 0, "v2"),
        ("[PATCH v2 RESEND 1/2]", 1, 2, "v2"),
        ("[PATCH take 2]", None, 0, "v2"),
        ("[net-next,v2,1/2]", 1, 2, "v2"),
        ("[PATCH net-next v2 01/12]", 1, 12, "v2"),
        ("[PATCH mm-unstable v3 1/1]", 1, 1, "v3"),
        ("[some-list] [PATCH 2/3]", 2, 3, "v1"),
        ("[PATCH [some] v2 1/2]", 1, 2, "v2"),
        ("[PATCH 1 of 2]", 1, 2, "v1"),
        ("[PATCH 1 of 2 V3]", 1, 2, "v3"),
        ("[PATCH v2.1 3/4]", 3, 4, "v2.1"),
        # Trees that patches are for, not re-rolls.
        ("[PATCH v6.1 1/3]", 1, 3, "v1"),
        ("[PATCH v6.1 v2 1/3]", 1, 3, "v2"),
        ("[PATCH 5.10.y v2 1/3]", 1, 3, "v2"),
        ("[PATCH 6.1/6.6 1/3]", 1, 3, "v1"),
        # Numbers by halves.
        ("[PATCH 1/n]", 1, 0, "v1"),
        ("[PATCH 2/?]", 2, 0, "v1"),
        ("[PATCH 2/]", 2, 0, "v1"),
        ("[PATCH 3]", 3, 0, "v1"),
    ],
)
def test_prefix_of_a_patch(tags: str, number: int | None, total: int, version: str) -> None:
    line = read_subject(f"{tags} mm: one")
    assert (line.tagged, line.reply) == (True, False)
    assert (line.number if line.numbered else None, line.total) == (number, total)
    assert (str(line.version), line.text) == (version, "mm: one")


@pytest.mark.parametrize(
    "subject", ["mm: one", "[bug report] mm: one", "[GIT PULL] mm", "PATCH: x"]
)
def test_prefix_that_says_nothing_of_a_patch(subject: str) -> None:
    line = read_subject(subject)
    assert (line.tagged, line.numbered, line.text) == (False, False, subject)


@pytest.mark.parametrize(
    "subject",
    [
        "Re: [PATCH 2/3] mm: one",
        "RE: Re: [PATCH 2/3] mm: one",
        "[some-list] Re: [PATCH 2/3] mm: one",
        "AW: [PATCH 2/3] mm: one",
        "Re[2]: [PATCH 2/3] mm: one",
        "Fwd: [PATCH 2/3] mm: one",
    ],
)
def test_reply_is_told_by_its_subject(subject: str) -> None:
    line = read_subject(subject)
    assert (line.reply, line.number, line.total, line.text) == (True, 2, 3, "mm: one")


@pytest.mark.parametrize("text", ["Re: one", "[media] one", "mm: [one] two"])
def test_words_of_the_patch_are_left_as_they_are(text: str) -> None:
    line = read_subject(f"[PATCH 1/2]  {text}")
    assert (line.reply, line.text) == (False, text)


@pytest.mark.parametrize("tags", ["[RESEND PATCH]", "[PATCH v2 resend]", "[PATCH REPOST]"])
def test_patch_that_was_sent_before(tags: str) -> None:
    assert read_subject(f"{tags} mm: one").resent
    assert not read_subject("[PATCH] mm: resend it").resent


def test_rerolls_are_in_order() -> None:
    assert sorted([Version(10), Version(2, 1), Version(3), Version(2)]) == [
        Version(2), Version(2, 1), Version(3), Version(10),
    ]  # fmt: skip
