# SPDX-License-Identifier: GPL-2.0-only
"""Kernels that have a name: what of them is here, and the symbols that any of them has."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from harness.base.errors import DownloadError, KconfigError
from harness.base.spec import GitSpec, KernelSpec, PackageSpec
from harness.base.store import Store
from harness.kernel import known
from harness.kernel.features import symbols_of
from harness.kernel.known import check_names, known_kernels
from harness.kernel.source import SourceTree, open_source

MAKEFILE = "VERSION = 9\nPATCHLEVEL = 1\nSUBLEVEL = 0\nEXTRAVERSION =\n"


def git(directory: Path, *words: str) -> str:
    argv = ["git", "-c", "user.name=A", "-c", "user.email=a@example.com", *words]
    return subprocess.run(
        argv, cwd=directory, check=True, capture_output=True, text=True
    ).stdout.strip()


def commit(tree: Path, kconfig: str) -> str:
    (tree / "Makefile").write_text(MAKEFILE)
    (tree / "Kconfig").write_text(kconfig)
    git(tree, "add", "-A")
    git(tree, "commit", "-qm", "state")
    return git(tree, "rev-parse", "HEAD")


@pytest.fixture
def upstream(tmp_path: Path) -> Path:
    """A repository whose branch ``main`` is a kernel."""
    tree = tmp_path / "upstream"
    tree.mkdir()
    git(tree, "init", "-q", "-b", "main")
    commit(tree, "config OLD\n\tbool\n")
    return tree


def branch(*urls: object, name: str = "main") -> KernelSpec:
    return KernelSpec(git=GitSpec(urls=tuple(map(str, urls)), branch=name))


def opened(spec: KernelSpec, store: Store, *, update: bool = False) -> SourceTree:
    return open_source(spec, store, progress=lambda _text: None, update=update)


def test_branch_is_fetched_once_and_again_on_request(store: Store, upstream: Path) -> None:
    first = opened(branch(upstream), store)
    assert (first.version, first.base) == ("9.1.0", git(upstream, "rev-parse", "main"))
    moved = commit(upstream, "config NEW\n\tbool\n")
    assert opened(branch(upstream), store).base == first.base
    assert opened(branch(upstream), store, update=True).base == moved
    assert opened(branch(upstream), store).base == moved


def test_branch_is_fetched_from_the_next_place_when_one_fails(
    store: Store, upstream: Path, tmp_path: Path
) -> None:
    found = opened(branch(tmp_path / "absent", upstream), store)
    assert found.base == git(upstream, "rev-parse", "main")


def test_branch_that_nobody_has_is_an_error_that_names_every_place(
    store: Store, upstream: Path, tmp_path: Path
) -> None:
    with pytest.raises(DownloadError) as caught:
        opened(branch(tmp_path / "absent", upstream, name="other"), store)
    assert "cannot fetch other" in caught.value.message
    assert f"{tmp_path}/absent:" in caught.value.message
    assert f"{upstream}:" in caught.value.message


def test_other_revision_of_a_branch_s_repository_is_fetched(store: Store, upstream: Path) -> None:
    git(upstream, "tag", "v1")
    commit(upstream, "config NEW\n\tbool\n")
    spec = branch(upstream)
    opened(spec, store)
    found = opened(KernelSpec(git=spec.git, base="v1"), store)
    assert found.base == git(upstream, "rev-parse", "v1")
    assert symbols_of(found, {"OLD", "NEW"}) == {"OLD"}


PACKAGE = KernelSpec(
    package=PackageSpec(
        name="p", version="1", filename="p.deb", sha256="0" * 64, size_bytes=1, pool="p"
    )
)


def test_known_kernels_say_what_of_them_is_here(
    store: Store, upstream: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(known, "load_kernels", lambda: {"tip": branch(upstream), "1": PACKAGE})
    monkeypatch.delenv("HARNESS_DOWNLOADS", raising=False)
    tip, package = known_kernels(store)
    assert (tip.downloaded, tip.source, package.downloaded) == (None, None, False)
    source = opened(branch(upstream), store)
    with store.produce("build", "k") as entry:
        facts = '{"release": "9.1.0-p00", "profile": "default", "seconds": 1.0}'
        (entry / "build.json").write_text(facts)
    downloads = tmp_path / "downloads"
    downloads.mkdir()
    (downloads / "p.deb").touch()
    monkeypatch.setenv("HARNESS_DOWNLOADS", str(downloads))
    tip, package = known_kernels(store)
    assert tip.source is not None
    assert (tip.source.base, tip.built) == (source.base, ("default",))
    assert (package.downloaded, package.source, package.built) == (True, None, ())


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        ("CONFIG_OLD|CONFIG_NEW=y", None),
        ("CONFIG_NEW=y # optional", None),
        ("CONFIG_OLD|CONFIG_NWE=y", "NWE"),
        ("CONFIG_NWE=y # optional", "NWE"),
        # What every kernel must have is asked of the tree itself.
        ("CONFIG_NWE=y", None),
    ],
)
def test_symbol_that_no_known_kernel_has_is_an_error(
    store: Store,
    upstream: Path,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    line: str,
    wrong: str | None,
) -> None:
    git(upstream, "branch", "old")
    commit(upstream, "menuconfig NEW\n\tbool\n")
    old, new = branch(upstream, name="old"), branch(upstream)
    monkeypatch.setattr(known, "load_kernels", lambda: {"old": old, "new": new})
    source = opened(old, store)
    opened(new, store)
    fragment = tmp_path / "own.config"
    fragment.write_text(f"# first\n{line}\n")
    if wrong is None:
        check_names([fragment], source, store)
        return
    with pytest.raises(KconfigError, match=rf"own\.config:2: no kernel .* CONFIG_{wrong}$"):
        check_names([fragment], source, store)


def test_symbol_is_no_error_while_a_pinned_kernel_cannot_be_asked(
    store: Store, upstream: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(known, "load_kernels", lambda: {"tip": branch(upstream), "1": PACKAGE})
    fragment = tmp_path / "own.config"
    fragment.write_text("CONFIG_ABSENT=y # optional\n")
    check_names([fragment], opened(branch(upstream), store), store)
