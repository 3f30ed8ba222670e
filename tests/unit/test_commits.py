# SPDX-License-Identifier: GPL-2.0-only
"""A series may be commits of a tree, a branch of b4's, or a thread that b4 fetches."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from patches import FROM_LINE, git, mail, tiny_tree

from harness.base.errors import SeriesError
from harness.kernel.lore import is_archived
from harness.kernel.series import Series, read_series


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return tiny_tree(tmp_path / "tree")


def commit(tree: Path, word: str) -> None:
    (tree / "kernel/a.c").write_text(f"{word}\n")
    git(tree, "commit", "-qam", f"mm: {word}")


def cover(**series: object) -> str:
    """Return the text that b4 keeps a cover letter in."""
    data = {"series": {"revision": 3, "change-id": "20260101-x-1", **series}}
    return (
        "mm: All of it\n\n# Lines such as this are b4's.\nThe whole story.\n\n"
        "--- b4-submit-tracking ---\n"
        "# This section is used internally by b4 prep for tracking purposes.\n"
        f"{json.dumps(data, indent=2)}\n"
    )


def told(series: Series) -> tuple[str, int, list[str]]:
    return series.title, series.version, [patch.subject for patch in series.patches]


WHOLE = ("mm: All of it", 3, ["mm: one", "mm: two"])


@pytest.mark.parametrize("location", ["b4/x", "main..b4/x"])
def test_branch_with_the_cover_letter_below_the_patches(tree: Path, location: str) -> None:
    git(tree, "checkout", "-q", "-b", "b4/x")
    git(tree, "commit", "-q", "--allow-empty", "-m", cover())
    for word in ("one", "two"):
        commit(tree, word)
    series = read_series(location, repo=tree)
    assert told(series) == WHOLE
    assert (series.cover or "").strip() == "The whole story."
    assert series.taken == "v3, 2 patches"


@pytest.mark.parametrize("where", ["tip", "description"])
def test_branch_with_the_cover_letter_elsewhere(tree: Path, where: str) -> None:
    git(tree, "checkout", "-q", "-b", "b4/x")
    for word in ("one", "two"):
        commit(tree, word)
    text = cover(**{"base-branch": "main"})
    if where == "tip":
        git(tree, "commit", "-q", "--allow-empty", "-m", text)
    else:
        said, _, data = text.partition("--- b4-submit-tracking ---\n")
        git(tree, "config", "branch.b4/x.description", said)
        git(tree, "config", "branch.b4/x.b4-tracking", data.partition("\n")[2])
    for location in ("b4/x", "main..b4/x"):
        assert told(read_series(location, repo=tree)) == WHOLE


def test_branch_whose_patches_are_not_known_is_refused(tree: Path) -> None:
    git(tree, "checkout", "-q", "-b", "b4/x")
    commit(tree, "one")
    git(tree, "commit", "-q", "--allow-empty", "-m", cover())
    with pytest.raises(SeriesError, match="does not say which commits are its patches"):
        read_series("b4/x", repo=tree)


def test_branch_that_is_not_b4_s_asks_for_a_range(tree: Path) -> None:
    with pytest.raises(SeriesError, match="has no cover letter") as caught:
        read_series("main", repo=tree)
    assert caught.value.hint == "name its commits: A..main"


def test_tracking_data_that_is_damaged_is_a_first_version(tree: Path) -> None:
    git(tree, "checkout", "-q", "-b", "b4/x")
    git(tree, "commit", "-q", "--allow-empty", "-m", cover().replace('"revision"', "revision"))
    commit(tree, "one")
    assert told(read_series("b4/x", repo=tree)) == ("mm: All of it", 1, ["mm: one"])


@pytest.mark.parametrize(
    "setting",
    [
        "diff.noprefix=true",
        "diff.mnemonicPrefix=true",
        "format.subjectPrefix=RFC",
        "format.attach=x",
    ],
)
def test_range_is_read_whatever_the_repository_is_set_to(tree: Path, setting: str) -> None:
    base = git(tree, "rev-parse", "HEAD")
    for word in ("one", "two"):
        commit(tree, word)
    git(tree, "config", *setting.split("="))
    series = read_series(f"{base}..HEAD", repo=tree)
    assert [patch.subject for patch in series.patches] == ["mm: one", "mm: two"]
    assert b"--- a/kernel/a.c\n+++ b/kernel/a.c\n" in series.patches[0].mail
    assert b"multipart" not in series.patches[0].mail


@pytest.mark.parametrize(
    "text", ["Re: one", "[media] one", "K\N{LATIN SMALL LETTER A WITH DIAERESIS}se"]
)
def test_range_keeps_subjects(tree: Path, text: str) -> None:
    (tree / "kernel/a.c").write_text("new\n")
    git(tree, "commit", "-qam", text)
    assert [p.subject for p in read_series("HEAD~1..HEAD", repo=tree).patches] == [text]


# -- archives ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("location", "archived"),
    [
        ("20260101-x-v2-0-0123@example.com", True),
        ("<20260101-x-v2-0-0123@example.com>", True),
        ("https://lore.kernel.org/all/20260101-x@example.com/", True),
        ("series/v4.mbx", False),
        ("v1..v2", False),
        ("HEAD@{1}..HEAD", False),
        ("b4/branch", False),
    ],
)
def test_message_id_and_address_are_of_an_archive(location: str, archived: bool) -> None:
    assert is_archived(location) is archived


B4 = """\
#!/bin/sh
echo "$@" >>"$B4_LOG"
case "$*" in *absent*) echo "not found" >&2; exit 1;; esac
while [ "$1" != -o ]; do shift; done
cp "$B4_SAYS"/* "$2"
"""


@pytest.fixture
def b4(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put a program on ``PATH`` that leaves what ``b4 am`` does; return the log of its calls."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/b4").write_text(B4)
    (tmp_path / "bin/b4").chmod(0o755)
    says = tmp_path / "says"
    says.mkdir()
    two = [mail(f"[PATCH v2 {n}/2] mm: {word}") for n, word in ((1, "one"), (2, "two"))]
    (says / "v2_x.mbx").write_text("".join(FROM_LINE + text for text in two))
    (says / "v2_x.cover").write_text(mail("[PATCH v2 0/2] mm: All of it", "Story."))
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    monkeypatch.setenv("B4_LOG", str(tmp_path / "log"))
    monkeypatch.setenv("B4_SAYS", str(says))
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "log"


@pytest.mark.parametrize("form", ["{}", "<{}>", "https://lore.kernel.org/all/{}/"])
def test_thread_is_fetched_by_b4(b4: Path, form: str) -> None:
    series = read_series(form.format("20260101-x@example.com"))
    assert told(series) == ("mm: All of it", 2, ["mm: one", "mm: two"])
    assert series.name == "20260101-x@example.com"
    (call,) = b4.read_text().splitlines()
    assert call.startswith("--no-interactive am --no-add-trailers -o ")
    assert call.endswith("20260101-x@example.com/" if "//" in form else " 20260101-x@example.com")


def test_thread_is_fetched_once_for_all_cells(b4: Path) -> None:
    first, second = (read_series("20260101-x@example.com") for _ in range(2))
    assert (first, len(b4.read_text().splitlines())) == (second, 1)


def test_thread_that_is_not_there_is_named(b4: Path) -> None:
    with pytest.raises(SeriesError, match=r"b4 found no series at absent@example\.com") as caught:
        read_series("absent@example.com")
    assert "b4 am absent@example.com" in (caught.value.hint or "")
    assert "absent" in b4.read_text()


def test_thread_without_b4_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.base.command.which", lambda _: None)
    with pytest.raises(SeriesError, match="no b4 to fetch it") as caught:
        read_series("20260101-x@example.com")
    assert "install b4" in (caught.value.hint or "")
