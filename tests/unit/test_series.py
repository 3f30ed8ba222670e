# SPDX-License-Identifier: GPL-2.0-only
"""A series is read as mail is, and becomes one commit a patch."""

from __future__ import annotations

import logging
import quopri
import re
import subprocess
from email.header import Header
from pathlib import Path

import pytest

from harness.errors import SeriesError, SpecError
from harness.series import (
    AppliedSeries,
    Position,
    Series,
    apply_extra,
    apply_series,
    read_series,
    touched_files,
)
from harness.source import SourceTree
from harness.store import Store

FROM_LINE = "From 0123456789abcdef0123456789abcdef01234567 Mon Sep 17 00:00:00 2001\n"
LOREM = [f"line {number}\n" for number in range(1, 21)]


def git(repo: Path, *words: str) -> str:
    identity = ["-c", "user.name=A U Thor", "-c", "user.email=author@example.com"]
    done = subprocess.run(
        ["git", *identity, "-C", repo, *words], check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


def diff(name: str = "kernel/a.c", old: str = "old", new: str = "new") -> str:
    return (
        f"---\n {name} | 2 +-\n\ndiff --git a/{name} b/{name}\n"
        f"--- a/{name}\n+++ b/{name}\n@@ -1 +1 @@\n-{old}\n+{new}\n-- \n2.39.0\n"
    )


def mail(subject: str, body: str | None = None, headers: str = "") -> str:
    text = (diff() if body is None else body).rstrip()
    return (
        f"From: A U Thor <author@example.com>\nDate: Mon, 2 Feb 2026 10:00:00 +0000\n"
        f"Subject: {subject}\n{headers}\nWhy.\n\n{text}\n\n"
    )


def mbox(path: Path, *mails: str) -> str:
    path.write_text("".join(FROM_LINE + text for text in mails))
    return str(path)


def subjects(series: Series) -> list[tuple[int, str]]:
    return [(patch.number, patch.subject) for patch in series.patches]


# -- reading ---------------------------------------------------------------------------------

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
    assert "v1 of the series is taken" in caplog.text


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


def encoded(text: str) -> str:
    return quopri.encodestring(text.encode()).decode()


QUOTED = "Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: quoted-printable\n"


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


# -- applying --------------------------------------------------------------------------------


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A tiny tree in git, one commit."""
    path = tmp_path / "tree"
    (path / "kernel").mkdir(parents=True)
    (path / "Makefile").write_text("VERSION = 7\nPATCHLEVEL = 0\n")
    (path / "Kconfig").write_text("\n")
    (path / "kernel/a.c").write_text("old\n")
    (path / "kernel/equal.c").write_text("a = 1;\n")
    (path / "kernel/long.c").write_text("".join(LOREM))
    git(tmp_path, "init", "-q", "-b", "main", str(path))
    git(path, "add", ".")
    git(path, "commit", "-qm", "base")
    return path


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "cache")


@pytest.fixture
def source(tree: Path) -> SourceTree:
    return opened(tree)


def opened(tree: Path) -> SourceTree:
    return SourceTree(
        repo=tree,
        base=git(tree, "rev-parse", "HEAD"),
        tree=git(tree, "rev-parse", "HEAD^{tree}"),
        version="7.0",
        label="tiny",
        lock="tiny",
    )


def series_of(tmp_path: Path, *mails: str) -> Series:
    return read_series(mbox(tmp_path / "applied.mbox", *mails))


def apply(
    source: SourceTree, series: Series | None, store: Store, support: Path | None = None
) -> tuple[AppliedSeries, list[str]]:
    said: list[str] = []
    applied = apply_series(source, series, store, support=support, progress=said.append)
    applied.position(None)
    return applied, said


STEPS = (
    mail("[PATCH 1/2] mm: one", diff(old="old", new="one")),
    mail("[PATCH 2/2] mm: two", diff(old="one", new="two")),
)


def test_apply_makes_one_commit_a_patch(tmp_path: Path, source: SourceTree, store: Store) -> None:
    applied, _ = apply(source, series_of(tmp_path, *STEPS), store)
    log = git(source.repo, "log", "--reverse", "--format=%s", applied.position(None).commit)
    assert log.splitlines() == ["base", "mm: one", "mm: two"]


def test_apply_positions_hold_so_many_patches(
    tmp_path: Path, source: SourceTree, store: Store
) -> None:
    applied, _ = apply(source, series_of(tmp_path, *STEPS), store)
    contents = [git(source.repo, "show", f"{p.commit}:kernel/a.c") for p in applied.positions]
    assert contents == ["old", "one", "two"]


def test_apply_position_names_tree_of_its_commit(
    tmp_path: Path, source: SourceTree, store: Store
) -> None:
    last = apply(source, series_of(tmp_path, *STEPS), store)[0].position(2)
    assert last.tree == git(source.repo, "rev-parse", f"{last.commit}^{{tree}}")


def test_apply_leaves_work_tree_and_branch_alone(
    tmp_path: Path, source: SourceTree, store: Store
) -> None:
    apply(source, series_of(tmp_path, *STEPS), store)
    assert git(source.repo, "rev-parse", "main") == source.base
    assert git(source.repo, "status", "--porcelain") == ""


def test_apply_without_series_has_position_0_only(source: SourceTree, store: Store) -> None:
    applied, _ = apply(source, None, store)
    assert [p.commit for p in applied.positions] == [source.base]


def test_apply_again_finds_the_same_commits(
    tmp_path: Path, source: SourceTree, store: Store
) -> None:
    series = series_of(tmp_path, *STEPS)
    first, said = apply(source, series, store)
    second, said_again = apply(source, series, store)
    assert (first.positions, len(said), said_again) == (second.positions, 2, [])


def test_apply_in_a_fresh_repository_gives_the_same_commits(
    tmp_path: Path, source: SourceTree, store: Store
) -> None:
    series = series_of(tmp_path, *STEPS)
    first, _ = apply(source, series, store)
    refs = git(source.repo, "for-each-ref", "--format=%(refname)", "refs/harness").splitlines()
    for ref in refs:
        git(source.repo, "update-ref", "-d", ref)
    second, said = apply(source, series, store)
    assert (len(refs), len(said)) == (2, 2)
    assert first.positions == second.positions


def test_apply_changed_patch_keeps_what_is_below(
    tmp_path: Path, source: SourceTree, store: Store
) -> None:
    first, _ = apply(source, series_of(tmp_path, *STEPS), store)
    changed = mail("[PATCH 2/2] mm: two", diff(old="one", new="other"))
    second, said = apply(source, series_of(tmp_path, STEPS[0], changed), store)
    same = [a == b for a, b in zip(first.positions, second.positions, strict=True)]
    assert (same, len(said)) == ([True, True, False], 1)


@pytest.mark.parametrize("number", [-1, 3])
def test_position_outside_the_series_is_an_error(
    tmp_path: Path, source: SourceTree, store: Store, number: int
) -> None:
    applied, _ = apply(source, series_of(tmp_path, *STEPS), store)
    with pytest.raises(SeriesError, match=f"no position {number}") as caught:
        applied.position(number)
    assert "0 (no patch) to 2 (all)" in (caught.value.hint or "")


def hunk_that_fails() -> str:
    context = ["line 9", "line 10", "line 11 is not there"]
    lines = [" " + context[0], " " + context[1], "-" + context[2], "+changed"]
    return (
        "---\n\ndiff --git a/kernel/long.c b/kernel/long.c\n--- a/kernel/long.c\n"
        "+++ b/kernel/long.c\n@@ -9,3 +9,3 @@\n" + "\n".join(lines) + "\n-- \n2.39.0\n"
    )


def test_apply_failure_names_number_subject_file_and_hunk(
    tmp_path: Path, source: SourceTree, store: Store
) -> None:
    series = series_of(tmp_path, STEPS[0], mail("[PATCH 2/2] mm: bad", hunk_that_fails()))
    with pytest.raises(SeriesError) as caught:
        apply(source, series, store)
    assert str(caught.value) == (
        'patch 2 "mm: bad" does not apply: kernel/long.c, the hunk at line 9'
    )


def test_apply_failure_of_a_damaged_patch_says_so(
    tmp_path: Path, source: SourceTree, store: Store
) -> None:
    damaged = hunk_that_fails().replace("@@ -9,3 +9,3 @@", "@@ -9,9 +9,9 @@")
    series = series_of(tmp_path, STEPS[0], mail("[PATCH 2/2] mm: bad", damaged))
    with pytest.raises(SeriesError, match='patch 2 "mm: bad" does not apply: corrupt') as caught:
        apply(source, series, store)
    assert "damaged" in (caught.value.hint or "")


def test_apply_failure_names_a_file_that_is_not_in_the_tree(
    tmp_path: Path, source: SourceTree, store: Store
) -> None:
    with pytest.raises(SeriesError, match=r'1 "mm: one".* kernel/absent\.c is not in the tree'):
        apply(source, series_of(tmp_path, mail("[PATCH] mm: one", diff("kernel/absent.c"))), store)


def test_apply_works_after_a_failure(tmp_path: Path, source: SourceTree, store: Store) -> None:
    with pytest.raises(SeriesError):
        apply(source, series_of(tmp_path, mail("[PATCH] mm: bad", hunk_that_fails())), store)
    applied, _ = apply(source, series_of(tmp_path, *STEPS), store)
    assert len(applied.positions) == 3


def test_positions_below_a_patch_that_does_not_apply_can_be_had(
    tmp_path: Path, source: SourceTree, store: Store
) -> None:
    third = mail("[PATCH 3/3] mm: three", diff(old="two", new="three"))
    first = STEPS[0].replace("1/2", "1/3")
    series = series_of(tmp_path, first, mail("[PATCH 2/3] mm: bad", hunk_that_fails()), third)
    applied = apply_series(source, series, store, support=None, progress=lambda _text: None)
    assert applied.last == 3
    assert applied.position(1).subject == "mm: one"
    for number in (2, 3, None):
        with pytest.raises(SeriesError, match='patch 2 "mm: bad" does not apply'):
            applied.position(number)


def on_top(
    source: SourceTree, store: Store, at: Position, *files: str
) -> tuple[Position, list[str]]:
    said: list[str] = []
    extra = [read_series(file) for file in files]
    return apply_extra(source, at, extra, store, progress=said.append), said


def test_extra_patches_go_on_top_of_a_position(
    tmp_path: Path, source: SourceTree, store: Store
) -> None:
    applied, _ = apply(source, series_of(tmp_path, *STEPS), store)
    files = [
        mbox(tmp_path / f"{name}.patch", mail(f"[PATCH] mm: {name}", diff(old=old, new=name)))
        for old, name in (("one", "extra"), ("extra", "more"))
    ]
    made, said = on_top(source, store, applied.position(1), *files)
    log = git(source.repo, "log", "--reverse", "--format=%s", made.commit)
    assert log.splitlines() == ["base", "mm: one", "mm: extra", "mm: more"]
    assert (made.number, made.subject, len(said)) == (1, "mm: more", 2)
    assert made.tree == git(source.repo, "rev-parse", f"{made.commit}^{{tree}}").strip()
    again, said = on_top(source, store, applied.position(1), *files)
    assert (again, said) == (made, [])


def test_patch_out_of_a_series_will_do_as_an_extra_one(tmp_path: Path) -> None:
    file = mbox(tmp_path / "x.patch", mail("[PATCH v2 3/9] mm: three"))
    found = read_series(file, whole=False)
    assert [(patch.number, patch.subject) for patch in found.patches] == [(1, "mm: three")]


def test_extra_patch_that_does_not_apply_is_named_with_its_file(
    tmp_path: Path, source: SourceTree, store: Store
) -> None:
    applied, _ = apply(source, series_of(tmp_path, *STEPS), store)
    file = mbox(tmp_path / "bad.patch", mail("[PATCH] mm: bad", hunk_that_fails()))
    with pytest.raises(SeriesError) as caught:
        on_top(source, store, applied.position(2), file)
    assert str(caught.value) == (
        f'extra patch "mm: bad" ({file}) does not apply: kernel/long.c, the hunk at line 9'
    )
    assert caught.value.patch is not None


@pytest.mark.parametrize("how", ["plain", "quoted-printable"])
def test_apply_patch_that_is_in_the_tree_says_so(
    tmp_path: Path, source: SourceTree, store: Store, how: str
) -> None:
    body = diff("kernel/equal.c", old="a = 0;", new="a = 1;")
    text = mail("[PATCH] mm: done", body)
    if how == "quoted-printable":
        text = mail("[PATCH] mm: done", encoded(body), QUOTED)
    applied, _ = apply(source, series_of(tmp_path, text), store)
    zero, one = applied.positions
    assert (one.already, one.commit, applied.broken) == (True, zero.commit, None)


def test_extra_patch_that_is_in_the_tree_is_refused(
    tmp_path: Path, source: SourceTree, store: Store
) -> None:
    applied, _ = apply(source, series_of(tmp_path, *STEPS), store)
    file = tmp_path / "again.patch"
    file.write_text(mail("[PATCH] mm: again", diff("kernel/equal.c", old="a = 0;", new="a = 1;")))
    with pytest.raises(SeriesError, match="is already in the tree"):
        on_top(source, store, applied.position(2), file)


CHANGES = (
    mail("[PATCH 1/3] mm: first", diff(new="one")),
    mail("[PATCH 2/3] mm: second", diff(old="one", new="two")),
    mail("[PATCH 3/3] mm: third", diff(old="two", new="three")),
)


@pytest.mark.parametrize("upstream", [0, 1, 2, 3])
def test_patches_that_went_upstream_are_noticed_one_by_one(
    tmp_path: Path, tree: Path, store: Store, upstream: int
) -> None:
    (tree / "kernel/a.c").write_text(("old", "one", "two", "three")[upstream] + "\n")
    git(tree, "commit", "--quiet", "--allow-empty", "-am", "upstream")
    source = opened(tree)
    applied, _ = apply(source, series_of(tmp_path, *CHANGES), store)
    assert applied.broken is None
    assert [p.already for p in applied.positions[1:]] == [n <= upstream for n in (1, 2, 3)]
    assert git(source.repo, "show", f"{applied.position(3).commit}:kernel/a.c") == "three"
    assert len({p.commit for p in applied.positions}) == 4 - upstream
    assert applied.worth == ((0, 1, 2, 3), (0, 2, 3), (0, 3), (3,))[upstream]


def test_apply_quoted_printable_patch(tmp_path: Path, source: SourceTree, store: Store) -> None:
    text = mail("[PATCH] mm: one", encoded(diff(new="a = 1;")), QUOTED)
    applied, _ = apply(source, series_of(tmp_path, text), store)
    assert git(source.repo, "show", f"{applied.position(1).commit}:kernel/a.c") == "a = 1;"


def test_apply_crlf_mail(tmp_path: Path, source: SourceTree, store: Store) -> None:
    path = tmp_path / "one.eml"
    path.write_bytes(STEPS[0].replace("1/2", "1/1").replace("\n", "\r\n").encode())
    applied, _ = apply(source, read_series(str(path)), store)
    assert git(source.repo, "show", f"{applied.position(1).commit}:kernel/a.c") == "one"


def test_apply_keeps_the_author(tmp_path: Path, source: SourceTree, store: Store) -> None:
    applied, _ = apply(source, series_of(tmp_path, *STEPS), store)
    author = git(source.repo, "log", "-1", "--format=%an <%ae>", applied.position(1).commit)
    assert author == "A U Thor <author@example.com>"


# -- support commits -------------------------------------------------------------------------


def support(tmp_path: Path, contains: str, file: str = "kernel/*.c") -> Path:
    directory = tmp_path / "support"
    directory.mkdir()
    (directory / "0001.patch").write_text(mail("[PATCH] mm: support", diff(new="helped")))
    (directory / "support.yaml").write_text(
        "- patch: 0001.patch\n  reason: tests need it\n  already:\n"
        f"    file: '{file}'\n" + (f"    contains: '{contains}'\n" if contains else "")
    )
    return directory


def test_support_commit_lies_under_position_0(
    tmp_path: Path, source: SourceTree, store: Store
) -> None:
    applied, _ = apply(source, None, store, support(tmp_path, "nowhere"))
    assert [s.applied for s in applied.support] == [True]
    assert git(source.repo, "show", f"{applied.position(0).commit}:kernel/a.c") == "helped"


@pytest.mark.parametrize(
    ("file", "contains", "why"),
    [
        ("kernel/*.c", r"line 1\d", "kernel/long.c of this tree does it"),
        ("kernel/long.*", "", "the tree has kernel/long.c"),
    ],
)
def test_support_commit_is_left_out_where_the_tree_has_it(
    tmp_path: Path, source: SourceTree, store: Store, file: str, contains: str, why: str
) -> None:
    applied, said = apply(source, None, store, support(tmp_path, contains, file))
    assert [(s.applied, s.why_left_out) for s in applied.support] == [(False, why)]
    assert (applied.position(0).commit, said) == (source.base, [])


def test_support_commit_that_does_not_apply_is_named(
    tmp_path: Path, source: SourceTree, store: Store
) -> None:
    directory = support(tmp_path, "nowhere")
    (directory / "0001.patch").write_text(mail("[PATCH] mm: support", hunk_that_fails()))
    with pytest.raises(SeriesError, match='support commit "mm: support" does not apply'):
        apply(source, None, store, directory)


def test_support_patch_that_is_missing_names_file_and_line(
    tmp_path: Path, source: SourceTree, store: Store
) -> None:
    directory = support(tmp_path, "nowhere")
    (directory / "0001.patch").unlink()
    with pytest.raises(SpecError, match=r"support\.yaml:1: no such patch: .*0001\.patch"):
        apply(source, None, store, directory)
