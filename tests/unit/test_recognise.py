# SPDX-License-Identifier: GPL-2.0-only
"""A patch is recognised in a tree whose maintainers changed its subject, its place or its text."""

from __future__ import annotations

from pathlib import Path

import pytest
from patches import git, mail, mbox, tiny_tree

from harness.base.errors import SeriesError
from harness.base.store import Store
from harness.kernel.apply import AppliedSeries, apply_series
from harness.kernel.recognise import (
    By,
    Recognised,
    known_commits,
    known_patches,
    normalised,
    recognise,
)
from harness.kernel.series import read_series
from harness.kernel.source import SourceTree
from harness.run.presence import presences


@pytest.mark.parametrize(
    "subject",
    [
        "mm: Fix The Leak",
        "[PATCH v4 3/11] mm: fix the leak",
        "Re: [PATCH net 1/2] mm: fix the leak",
        "[RFC PATCH] mm:  fix the leak.",
        " mm: fix\tthe leak ",
    ],
)
def test_subject_is_the_same_whatever_people_change_in_passing(subject: str) -> None:
    assert normalised(subject) == normalised("mm: fix the leak")


@pytest.mark.parametrize("subject", ["mm: fix leak", "[x86] mm: fix the leak", "fix the leak"])
def test_subject_that_says_something_else_is_another(subject: str) -> None:
    assert normalised(subject) != normalised("mm: fix the leak")


# -- in a tree -------------------------------------------------------------------------------

LINE = 10
"""The line of kernel/long.c that the patch changes."""


def change(line: int = LINE, to: str = "changed") -> str:
    """Return a diff of one line of kernel/long.c."""
    around = [f" line {number}\n" for number in range(line - 3, line + 4)]
    around[3] = f"-line {line}\n+{to}\n"
    name = "kernel/long.c"
    return (
        f"---\n\ndiff --git a/{name} b/{name}\n--- a/{name}\n+++ b/{name}\n"
        f"@@ -{line - 3},7 +{line - 3},7 @@\n{''.join(around)}-- \n2.39.0\n"
    )


def commit(tree: Path, message: str, line: int = LINE, to: str = "changed", add: int = 0) -> str:
    """Change a line of kernel/long.c, with *add* more lines on top of the file."""
    file = tree / "kernel/long.c"
    text = file.read_text().replace(f"line {line}\n", f"{to}\n")
    file.write_text("new\n" * add + text)
    git(tree, "commit", "-qam", message)
    return git(tree, "rev-parse", "HEAD")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return tiny_tree(tmp_path / "tree")


def opened(tree: Path) -> SourceTree:
    base, top = git(tree, "rev-parse", "HEAD", "HEAD^{tree}").split()
    return SourceTree(
        repo=tree, base=base, tree=top, version="7.0", label="tiny", public=False, lock="tiny"
    )


def found(tree: Path, store: Store, *mails: str) -> dict[str, Recognised]:
    patches = read_series(mbox(tree.parent / "known.mbox", *mails)).patches
    return dict(recognise(known_patches(patches), known_commits(opened(tree), patches, store)))


PATCH = mail("[PATCH] mm: Fix the leak", change(), "Message-ID: <20260413.1-2-a@example.com>\n")


@pytest.mark.parametrize(
    ("message", "by"),
    [
        ("mm: fix the Leak.\n\nSigned-off-by: M", By.SUBJECT),
        ("mm: plug it\n\nLink: https://patch.msgid.link/20260413.1-2-a@example.com", By.MESSAGE_ID),
        ("x: y\n\nLink: https://lore.kernel.org/r/20260413.1-2-a@example.com/ [1]", By.MESSAGE_ID),
        ("mm: plug it\n\nMessage-ID: <20260413.1-2-a@example.com>", By.MESSAGE_ID),
        ("mm: plug it", By.PATCH_ID),
    ],
)
def test_merged_patch_is_recognised(tree: Path, store: Store, message: str, by: By) -> None:
    merged = commit(tree, message)
    commit(tree, "mm: something else", line=19)
    match = found(tree, store, PATCH)["1"]
    assert (match.by, match.name, match.same_change, match.others) == (by, merged, True, ())
    assert match.subject == message.partition("\n")[0]


def test_patch_id_fits_at_another_place(tree: Path, store: Store) -> None:
    commit(tree, "mm: lines on top", line=1, add=5)
    merged = commit(tree, "mm: plug it")
    match = found(tree, store, PATCH)["1"]
    assert (match.by, match.name) == (By.PATCH_ID, merged)


def test_what_changed_on_merge_is_noticed(tree: Path, store: Store) -> None:
    commit(tree, "mm: fix the leak", to="changed otherwise")
    match = found(tree, store, PATCH)["1"]
    assert (match.by, match.same_change) == (By.SUBJECT, False)


def test_unrelated_commits_are_not_the_patch(tree: Path, store: Store) -> None:
    commit(tree, "mm: plug it\n\nLink: https://lore.kernel.org/r/other@example.com", line=15)
    assert found(tree, store, PATCH) == {}


def test_reverted_commit_does_not_count(tree: Path, store: Store) -> None:
    merged = commit(tree, "mm: fix the leak")
    git(tree, "revert", "--no-edit", merged)
    assert found(tree, store, PATCH) == {}
    again = git(tree, "rev-parse", "HEAD")
    git(tree, "revert", "--no-edit", again)
    assert found(tree, store, PATCH)["1"].name == merged


def test_subject_of_several_is_decided_by_what_they_change(tree: Path, store: Store) -> None:
    merged = commit(tree, "mm: fix the leak")
    commit(tree, "mm: fix the leak", line=15)
    match = found(tree, store, PATCH)["1"]
    assert (match.by, match.name, match.others) == (By.PATCH_ID, merged, ())


def test_what_is_not_clear_is_said(tree: Path, store: Store) -> None:
    older = commit(tree, "mm: fix the leak", line=5)
    newer = commit(tree, "mm: fix the leak", line=15)
    match = found(tree, store, PATCH)["1"]
    assert (match.by, match.name, match.others) == (By.SUBJECT, newer, (older,))


def test_one_commit_is_one_patch(tree: Path, store: Store) -> None:
    link = "Link: https://lore.kernel.org/r/discussion@example.com"
    merged = commit(tree, f"mm: two\n\n{link}")
    one = mail("[PATCH 1/2] mm: one", f"{link}\n{change(line=15)}")
    two = mail("[PATCH 2/2] mm: two", f"{link}\n{change()}")
    matches = found(tree, store, one, two)
    assert {number: match.name for number, match in matches.items()} == {"2": merged}


# -- a series that the tree has already --------------------------------------------------------

SERIES = (
    mail("[PATCH 1/3] mm: Do one", change(line=4), "Message-ID: <1@example.com>\n"),
    mail("[PATCH 2/3] mm: Do two", change(line=10), "Message-ID: <2@example.com>\n"),
    mail("[PATCH 3/3] mm: Do three", change(line=16), "Message-ID: <3@example.com>\n"),
)
NUMBERS = {4: 1, 10: 2, 16: 3}


def applied_to(tree: Path, store: Store) -> AppliedSeries:
    series = read_series(mbox(tree.parent / "posted.mbox", *SERIES))
    return apply_series(opened(tree), series, store, support=None, progress=lambda _text: None)


def test_merged_series_is_passed_over(tree: Path, store: Store) -> None:
    # As maintainers do: another subject, a changed patch, and work of others on top.
    commit(tree, "mm: do one", line=4, to="changed a little")
    commit(tree, "mm: second step\n\nLink: https://lore.kernel.org/r/2@example.com", line=10)
    commit(tree, "mm: third step", line=16)
    file = tree / "kernel/long.c"
    file.write_text(file.read_text().replace("line 1\n", "later\n").replace("line 5\n", "later\n"))
    git(tree, "commit", "-qam", "mm: later")
    applied = applied_to(tree, store)
    assert applied.broken is None
    assert [(p.number, p.already and p.already.by) for p in applied.positions[1:]] == [
        (1, By.SUBJECT),
        (2, By.MESSAGE_ID),
        (3, By.PATCH_ID),
    ]
    assert applied.position(None).commit == applied.source.base
    assert applied.worth == (3,)
    known = presences(applied.series, applied, (), at=0, store=store) if applied.series else {}
    assert [item.has for item in known.values()] == [True] * 3


@pytest.mark.parametrize("merged", [[4], [10], [16], [4, 16], [4, 10]])
def test_patches_of_a_series_that_are_in_are_passed_over(
    tree: Path, store: Store, merged: list[int]
) -> None:
    for line in merged:
        commit(tree, f"mm: MERGED {line}", line=line)
    applied = applied_to(tree, store)
    assert [p.number for p in applied.in_tree] == [NUMBERS[line] for line in merged]
    text = git(tree, "show", f"{applied.position(None).commit}:kernel/long.c")
    assert text.count("changed") == 3


def test_series_of_which_the_tree_has_a_part_names_it_when_the_rest_does_not_apply(
    tree: Path, store: Store
) -> None:
    commit(tree, "mm: do one", line=4)
    commit(tree, "mm: in the way", line=10, to="quite different")
    applied = applied_to(tree, store)
    with pytest.raises(SeriesError, match='patch 2 "mm: Do two" does not apply') as caught:
        applied.position(None)
    assert "the tree has patch 1 already" in str(caught.value.hint)
    assert applied.position(1).commit == applied.source.base
