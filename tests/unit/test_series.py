# SPDX-License-Identifier: GPL-2.0-only
"""A series is read as mail is."""

from __future__ import annotations

import bz2
import logging
import re
from email.header import Header
from pathlib import Path

import pytest
from patches import FROM_LINE, QUOTED, diff, encoded, git, mail, mbox, tiny_tree

from harness.base.errors import SeriesError
from harness.kernel.mail import touched_files
from harness.kernel.series import Series, read_series


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return tiny_tree(tmp_path / "tree")


def subjects(series: Series) -> list[tuple[int, str]]:
    return [(patch.number, patch.subject) for patch in series.patches]


TWO = (mail("[PATCH 1/2] mm: one"), mail("[PATCH 2/2] mm: two"))
BOTH = [(1, "mm: one"), (2, "mm: two")]


def test_read_mbox_in_order(tmp_path: Path) -> None:
    assert subjects(read_series(mbox(tmp_path / "s.mbox", *TWO))) == BOTH


def test_read_out_of_order_parts_are_sorted(tmp_path: Path) -> None:
    assert subjects(read_series(mbox(tmp_path / "s.mbox", *reversed(TWO)))) == BOTH


def test_read_patches_strung_together_without_empty_lines(tmp_path: Path) -> None:
    assert (
        subjects(read_series(mbox(tmp_path / "s.mbox", *(t.strip() + "\n" for t in TWO)))) == BOTH
    )


@pytest.mark.parametrize("folder", ["cur", "new"])
def test_read_maildir(tmp_path: Path, folder: str) -> None:
    for name in ("cur", "new", "tmp"):
        (tmp_path / name).mkdir()
    for number, text in enumerate(TWO):
        (tmp_path / folder / f"17000000{number}.M1.host:2,S").write_text(text)
    assert subjects(read_series(str(tmp_path))) == BOTH


def test_read_directory_takes_patch_files_only(tmp_path: Path) -> None:
    for number, text in enumerate(TWO, 1):
        (tmp_path / f"000{number}-mm.patch").write_text(FROM_LINE + text)
    (tmp_path / "notes.txt").write_text("no mail at all\n")
    assert subjects(read_series(str(tmp_path))) == BOTH


def test_read_single_mail_without_from_line(tmp_path: Path) -> None:
    (tmp_path / "one.eml").write_text(mail("[PATCH] mm: alone"))
    assert subjects(read_series(str(tmp_path / "one.eml"))) == [(1, "mm: alone")]


def test_read_unnumbered_patches_are_numbered_by_place(tmp_path: Path) -> None:
    for number, word in enumerate(("one", "two"), 1):
        (tmp_path / f"000{number}.patch").write_text(mail(f"[PATCH] mm: {word}"))
    assert subjects(read_series(str(tmp_path))) == BOTH


def test_read_git_range(tree: Path) -> None:
    base = git(tree, "rev-parse", "HEAD")
    for word in ("one", "two"):
        (tree / "kernel/a.c").write_text(f"{word}\n")
        git(tree, "commit", "-qam", f"mm: {word}")
    assert subjects(read_series(f"{base}..HEAD", repo=tree)) == BOTH


def test_read_git_range_keeps_bytes_that_are_no_utf8(tree: Path) -> None:
    (tree / "kernel/a.c").write_bytes(b"/* caf\xe9 */\n")
    git(tree, "commit", "-qam", "mm: one")
    assert b"caf\xe9" in read_series("HEAD~1..HEAD", repo=tree).patches[0].mail


def test_read_git_range_without_tree_asks_for_one() -> None:
    with pytest.raises(SeriesError, match="is no file") as caught:
        read_series("v1..v2")
    assert "--kernel" in (caught.value.hint or "")


def test_read_unknown_git_range_is_an_error(tree: Path) -> None:
    with pytest.raises(SeriesError, match=r"no range 'nowhere\.\.HEAD'"):
        read_series("nowhere..HEAD", repo=tree)


def test_read_empty_git_range_holds_no_patch(tree: Path) -> None:
    with pytest.raises(SeriesError, match="holds no patch"):
        read_series("HEAD..HEAD", repo=tree)


def test_read_missing_location_is_named(tmp_path: Path) -> None:
    with pytest.raises(SeriesError, match=f"no series at {re.escape(str(tmp_path))}/absent"):
        read_series(str(tmp_path / "absent"))


def test_read_without_patch_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SeriesError, match="holds no patch"):
        read_series(mbox(tmp_path / "s.mbox", mail("Lunch?", "At noon.")))


def test_read_cover_letter_is_no_patch_but_the_title(tmp_path: Path) -> None:
    cover = mail("[PATCH v4 00/02] mm: all of it", "The whole story.")
    series = read_series(
        mbox(tmp_path / "s.mbox", cover, *(t.replace("PATCH", "PATCH v4") for t in TWO))
    )
    assert subjects(series) == BOTH
    assert series.title == "mm: all of it"
    assert "The whole story." in (series.cover or "")


def test_read_without_cover_takes_the_first_subject_as_title(tmp_path: Path) -> None:
    series = read_series(mbox(tmp_path / "s.mbox", *TWO))
    assert (series.title, series.cover) == ("mm: one", None)


@pytest.mark.parametrize(
    ("tags", "version"),
    [
        ("PATCH 1/1", 1),
        ("PATCH v4 1/1", 4),
        ("PATCH v12 01/01", 12),
        ("RFC PATCH v2 1/1", 2),
        ("PATCH mm-unstable v3 1/1", 3),
        ("patch V5 1/1", 5),
    ],
)
def test_read_prefix_tells_the_version(tmp_path: Path, tags: str, version: int) -> None:
    series = read_series(mbox(tmp_path / "s.mbox", mail(f"[{tags}] mm: one")))
    assert (series.version, subjects(series)) == (version, [(1, "mm: one")])


def test_read_number_of_a_part_is_its_place(tmp_path: Path) -> None:
    mails = [mail(f"[PATCH v4 {number}/11] mm: part {number}") for number in range(1, 12)]
    assert read_series(mbox(tmp_path / "s.mbox", *mails)).patches[2].name == '3 "mm: part 3"'


@pytest.mark.parametrize("missing", [1, 2, 3])
def test_read_missing_part_is_named(tmp_path: Path, missing: int) -> None:
    mails = [mail(f"[PATCH {n}/3] mm: part {n}") for n in (1, 2, 3) if n != missing]
    with pytest.raises(SeriesError, match=f"part {missing} of 3 missing"):
        read_series(mbox(tmp_path / "s.mbox", *mails))


def test_read_last_parts_missing_is_told_by_the_cover(tmp_path: Path) -> None:
    cover = mail("[PATCH 0/3] mm: all", "Story.")
    with pytest.raises(SeriesError, match="part 3 of 3 missing"):
        read_series(mbox(tmp_path / "s.mbox", cover, *(t.replace("/2]", "/3]") for t in TWO)))


def test_read_same_mail_twice_counts_once(tmp_path: Path) -> None:
    assert subjects(read_series(mbox(tmp_path / "s.mbox", *TWO, TWO[0]))) == BOTH


def test_read_part_twice_with_other_content_is_an_error(tmp_path: Path) -> None:
    other = mail("[PATCH 1/2] mm: one", diff(new="other"))
    with pytest.raises(SeriesError, match="part 1 is there twice, and differs"):
        read_series(mbox(tmp_path / "s.mbox", *TWO, other))


def test_read_replies_are_no_patches(tmp_path: Path) -> None:
    reply = mail("Re: [PATCH 1/2] mm: one", "> " + diff().replace("\n", "\n> "))
    assert subjects(read_series(mbox(tmp_path / "s.mbox", TWO[0], reply, TWO[1]))) == BOTH


def test_read_unnumbered_patch_in_a_numbered_thread_is_no_part(tmp_path: Path) -> None:
    aside = mail("[PATCH] mm: something else", diff(new="else"))
    assert subjects(read_series(mbox(tmp_path / "s.mbox", *TWO, aside))) == BOTH


def test_read_takes_the_newest_complete_version(tmp_path: Path) -> None:
    newer = [text.replace("PATCH", "PATCH v2") for text in TWO]
    series = read_series(mbox(tmp_path / "s.mbox", *TWO, *newer))
    assert (series.version, subjects(series)) == (2, BOTH)


def test_read_incomplete_new_version_falls_back_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        series = read_series(mbox(tmp_path / "s.mbox", *TWO, TWO[0].replace("PATCH", "PATCH v2")))
    assert series.version == 1
    assert "taken is v1, 2 patches; left out is v2, part 1 of 2: part 2 of 2 missing" in caplog.text


@pytest.mark.parametrize("where", ["cover", "patch"])
def test_read_base_commit_trailer(tmp_path: Path, where: str) -> None:
    trailer = "\nbase-commit: 0123456789abcdef0123456789abcdef01234567\n\n"
    mails = [mail("[PATCH 0/1] mm: all", "Story."), mail("[PATCH 1/1] mm: one")]
    mails[0 if where == "cover" else 1] += trailer
    series = read_series(mbox(tmp_path / "s.mbox", *mails))
    assert series.base_commit == "0123456789abcdef0123456789abcdef01234567"


def test_read_without_base_commit_trailer(tmp_path: Path) -> None:
    assert read_series(mbox(tmp_path / "s.mbox", *TWO)).base_commit is None


def test_read_crlf_mail(tmp_path: Path) -> None:
    path = tmp_path / "s.mbox"
    path.write_bytes("".join(FROM_LINE + text for text in TWO).replace("\n", "\r\n").encode())
    series = read_series(str(path))
    assert subjects(series) == BOTH
    assert b"\r" not in series.patches[0].mail


def test_read_quoted_printable_body(tmp_path: Path) -> None:
    text = mail("[PATCH 1/1] mm: one", encoded(diff(old="a = 1")), QUOTED)
    assert "-a =3D 1" in text
    series = read_series(mbox(tmp_path / "s.mbox", text))
    assert touched_files(series.patches[0].mail) == ("kernel/a.c",)


@pytest.mark.parametrize("subject", ["mm: Käse", "mm: " + "sehr länglicher Käse " * 6 + "Ende"])
def test_read_rfc2047_subject(tmp_path: Path, subject: str) -> None:
    header = Header(f"[PATCH v4 1/1] {subject}", "utf-8", header_name="Subject").encode()
    assert "Käse" not in header
    series = read_series(mbox(tmp_path / "s.mbox", mail(header)))
    assert (series.version, subjects(series)) == (4, [(1, subject)])


def test_read_folded_subject_is_one_line(tmp_path: Path) -> None:
    series = read_series(mbox(tmp_path / "s.mbox", mail("[PATCH 1/1] mm: a long\n subject")))
    assert subjects(series) == [(1, "mm: a long subject")]


def test_touched_files_knows_both_names_of_a_rename() -> None:
    body = "diff --git a/x.c b/y.c\nsimilarity index 100%\nrename from x.c\nrename to y.c\n"
    assert touched_files(mail("[PATCH] mm: move", body).encode()) == ("x.c", "y.c")


def test_touched_files_leaves_out_dev_null() -> None:
    body = "diff --git a/n.c b/n.c\nnew file mode 100644\n--- /dev/null\n+++ b/n.c\n@@ -0,0 +1 @@\n"
    assert touched_files(mail("[PATCH] mm: add", body + "+new\n").encode()) == ("n.c",)


def test_patch_out_of_a_series_will_do_as_an_extra_one(tmp_path: Path) -> None:
    file = mbox(tmp_path / "x.patch", mail("[PATCH v2 3/9] mm: three"))
    found = read_series(file, whole=False)
    assert [(patch.number, patch.subject) for patch in found.patches] == [(1, "mm: three")]


def test_series_that_was_cut_short_is_named(tmp_path: Path) -> None:
    packed = bz2.compress((FROM_LINE + mail("[PATCH] a")).encode() * 99)
    (tmp_path / "s.mbx.bz2").write_bytes(packed[:-20])
    with pytest.raises(SeriesError, match=r"cannot read .*s\.mbx\.bz2"):
        read_series(str(tmp_path / "s.mbx.bz2"))


def test_series_that_is_no_file_is_named() -> None:
    with pytest.raises(SeriesError, match="cannot read /dev/null"):
        read_series("/dev/null")
