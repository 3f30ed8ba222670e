# SPDX-License-Identifier: GPL-2.0-only
"""Whatever paths a mail names, nothing is written outside the tree."""

from __future__ import annotations

from pathlib import Path

import pytest
from patches import diff, git, mail, mbox, tiny_tree
from trees import opened

from harness.base.errors import SeriesError
from harness.base.store import Store
from harness.kernel.apply import apply_series
from harness.kernel.series import read_series
from harness.kernel.worktree import work_tree


def new_file(name: str, *, mode: str = "100644", text: str = "evil") -> str:
    end = "" if mode == "120000" else "-- \n2.39.0\n"
    missing = "\\ No newline at end of file\n" if mode == "120000" else ""
    return (
        f"---\n\ndiff --git a/{name} b/{name}\nnew file mode {mode}\nindex 0000000..1111111\n"
        f"--- /dev/null\n+++ b/{name}\n@@ -0,0 +1 @@\n+{text}\n{missing}{end}"
    )


def link(name: str, target: Path | str) -> str:
    return new_file(name, mode="120000", text=str(target))


def renamed(old: str, new: str) -> str:
    return (
        f"---\n\ndiff --git a/{old} b/{new}\nsimilarity index 100%\n"
        f"rename from {old}\nrename to {new}\n-- \n2.39.0\n"
    )


def traditional(name: str) -> str:
    return f"---\n\n--- /dev/null\n+++ {name}\n@@ -0,0 +1 @@\n+evil\n-- \n2.39.0\n"


OUT = "@OUT@"
"""A directory outside the tree, by its absolute path."""
UP = "@UP@"
"""The same, by a path from the top of each work tree that there is."""

REFUSED = {
    "up": [new_file(f"{UP}/file")],
    "up from a directory": [new_file(f"kernel/../{UP}/file")],
    "absolute": [new_file(f"{OUT}/file")],
    "absolute after a slash": [new_file(f"/{OUT}/file")],
    "not git's form, up": [traditional(f"b/{UP}/file")],
    "rename up": [renamed("kernel/a.c", f"{UP}/file")],
    "rename absolute": [renamed("kernel/a.c", f"{OUT}/file")],
    "hook": [new_file(".git/hooks/post-checkout", mode="100755")],
    "hook in other letters": [new_file(".GIT/../.git/hooks/post-checkout", mode="100755")],
    "through a link in one patch": [link("way", OUT) + new_file("way/file")[4:]],
    "through a link of the patch before": [link("way", OUT), new_file("way/file")],
    "through a link up": [link("way", UP), new_file("way/file")],
    "through a link to a link": [link("b", OUT) + link("way", "b")[4:], new_file("way/file")],
    "change through a link": [link("way", OUT), diff("way/mine", old="mine", new="evil")],
    "link in the place of a directory": [link("kernel", OUT), new_file("kernel/file")],
    "rename through a link": [link("way", OUT), renamed("kernel/a.c", "way/file")],
}

HARMLESS = {
    # Its first part is left out, as of every name.
    "not git's form, absolute": [traditional(f"{OUT}/file")],
    "a link out of the tree": [link("way", OUT)],
    "a link in the place of a file, then a file again": [
        renamed("kernel/a.c", "a.c") + link("kernel/a.c", f"{OUT}/mine")[4:],
        renamed("kernel/a.c", "b.c") + new_file("kernel/a.c")[4:],
    ],
}


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """A directory outside the tree, with a file."""
    directory = tmp_path / "out"
    directory.mkdir()
    (directory / "mine").write_text("mine\n")
    return directory


def apply(tmp_path: Path, store: Store, out: Path, patches: list[str]) -> None:
    """Apply the patches, and check out what comes of them."""
    tree = tiny_tree(tmp_path / "tree")
    (tree / "kernel/a.c").write_text("old\n")
    git(tree, "add", ".")
    git(tree, "commit", "-q", "--allow-empty", "-m", "base")
    source = opened(store, path=tree)
    # From work/NAME/src and work/NAME/am alike.
    up = Path("../../../..") / out.relative_to(store.root.parent)
    bodies = [text.replace(OUT, str(out)).replace(UP, str(up)) for text in patches]
    mails = [mail(f"[PATCH {n}/{len(bodies)}] x", body) for n, body in enumerate(bodies, 1)]
    series = read_series(mbox(tmp_path / "series.mbx", *mails))
    applied = apply_series(source, series, store, support=None, progress=lambda text: None)
    for position in applied.positions:
        with work_tree(source, position.commit, store, profile="x"):
            pass
    applied.position(None)


def listing(top: Path) -> dict[str, str]:
    return {
        str(path.relative_to(top)): path.read_text() for path in top.rglob("*") if path.is_file()
    }


@pytest.mark.parametrize("name", REFUSED)
def test_patch_that_writes_outside_the_tree_does_not_apply(
    tmp_path: Path, store: Store, out: Path, name: str
) -> None:
    with pytest.raises(SeriesError, match="does not apply"):
        apply(tmp_path, store, out, REFUSED[name])
    assert listing(out) == {"mine": "mine\n"}
    assert not list(tmp_path.rglob("hooks/post-checkout"))
    assert not [path for path in tmp_path.rglob("file") if path.is_file()]


@pytest.mark.parametrize("name", HARMLESS)
def test_link_out_of_the_tree_is_not_written_through(
    tmp_path: Path, store: Store, out: Path, name: str
) -> None:
    apply(tmp_path, store, out, HARMLESS[name])
    assert listing(out) == {"mine": "mine\n"}


def test_attachment_is_no_file(tmp_path: Path, store: Store, out: Path) -> None:
    headers = (
        'MIME-Version: 1.0\nContent-Type: text/x-patch; name="../../../out/file"\n'
        f'Content-Disposition: attachment; filename="{out}/file"\n'
    )
    text = mail("[PATCH] x", new_file("kernel/new.c"), headers)
    series = read_series(mbox(tmp_path / "series.mbx", text))
    source = opened(store, path=tiny_tree(tmp_path / "tree"))
    applied = apply_series(source, series, store, support=None, progress=lambda text: None)
    assert len(applied.positions) == 2
    assert listing(out) == {"mine": "mine\n"}
