# SPDX-License-Identifier: GPL-2.0-only
"""A series becomes one commit a patch, on top of the support commits."""

from __future__ import annotations

from pathlib import Path

import pytest
from patches import QUOTED, diff, encoded, git, mail, mbox, tiny_tree

from harness.base.errors import SeriesError, SpecError
from harness.base.progress import Progress
from harness.base.store import Store
from harness.kernel.apply import AppliedSeries, Position, apply_extra, apply_series
from harness.kernel.recognise import By
from harness.kernel.series import Series, read_series
from harness.kernel.source import SourceTree


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return tiny_tree(tmp_path / "tree")


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
        public=True,
        lock="tiny",
    )


def series_of(tmp_path: Path, *mails: str) -> Series:
    return read_series(mbox(tmp_path / "applied.mbox", *mails))


def apply(
    source: SourceTree, series: Series | None, store: Store, support: Path | None = None
) -> tuple[AppliedSeries, list[str]]:
    said: list[Progress] = []
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
    said: list[Progress] = []
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
    assert one.already is not None
    assert (one.already.by, one.commit, applied.broken) == (By.CONTENT, zero.commit, None)


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
    assert [p.number for p in applied.in_tree] == [1, 2, 3][:upstream]
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


def support(tmp_path: Path, contains: str, file: str = "kernel/*.c", key: str = "contains") -> Path:
    directory = tmp_path / "support"
    directory.mkdir()
    (directory / "0001.patch").write_text(mail("[PATCH] mm: support", diff(new="helped")))
    (directory / "support.yaml").write_text(
        "- patch: 0001.patch\n  reason: tests need it\n  already:\n"
        f"    file: '{file}'\n" + (f"    {key}: '{contains}'\n" if contains else "")
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


def test_support_commit_of_a_wrong_pattern_is_named(
    tmp_path: Path, source: SourceTree, store: Store
) -> None:
    with pytest.raises(SpecError, match=r"support\.yaml:5: "):
        apply(source, None, store, support(tmp_path, "foo("))


@pytest.mark.parametrize(("lacks", "applied"), [("nowhere", False), (r"line 1\d", True)])
def test_support_commit_is_left_out_where_there_is_nothing_to_do(
    tmp_path: Path, source: SourceTree, store: Store, lacks: str, applied: bool
) -> None:
    directory = support(tmp_path, lacks, "kernel/long.c", "lacks")
    (found,) = apply(source, None, store, directory)[0].support
    assert found.applied is applied
    said = "kernel/long.c of this tree has nothing like nowhere"
    assert found.why_left_out == ("" if applied else said)


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


def test_support_patch_that_is_none_names_file_and_line(
    tmp_path: Path, source: SourceTree, store: Store
) -> None:
    directory = support(tmp_path, "nowhere")
    (directory / "0001.patch").write_text(mail("Lunch?", "At noon."))
    with pytest.raises(SpecError, match=r"support\.yaml:1: not a patch: .*0001\.patch"):
        apply(source, None, store, directory)
