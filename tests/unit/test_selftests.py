# SPDX-License-Identifier: GPL-2.0-only
"""The tree's own selftests are built where there are some, and say why they do not build."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from harness.base.errors import BuildError
from harness.kernel.selftests import SELFTESTS, build_selftests, install_headers

SOURCES = Path("tree/tools/testing/selftests/liveupdate")


def build(tmp_path: Path, cc: str = "gcc", **sources: str) -> Path:
    """Build a tree that has the selftests *sources*."""
    for name, text in sources.items():
        (tmp_path / SOURCES).mkdir(parents=True, exist_ok=True)
        (tmp_path / SOURCES / f"{name}.c").write_text(text)
    (tmp_path / "obj").mkdir()
    return build_selftests(
        tmp_path / "tree", tmp_path / "obj", tmp_path / "headers", tmp_path / "log", cc=cc
    )


def test_tree_without_selftests_has_none(tmp_path: Path) -> None:
    assert list(build(tmp_path).iterdir()) == []


def test_every_selftest_is_built_with_what_they_share(tmp_path: Path) -> None:
    main = "int shared(void);\nint main(void) { return shared(); }\n"
    shared = {"luo_test_utils": "int shared(void) { return 0; }\n"}
    output = build(tmp_path, **dict.fromkeys(SELFTESTS, main), **shared)
    assert sorted(path.name for path in output.iterdir()) == sorted(SELFTESTS)


def test_selftest_that_does_not_compile_is_named_with_file_and_line(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match=r"^selftest liveupdate: .*liveupdate\.c:2:.*error") as got:
        build(tmp_path, liveupdate="\nint main(void) { return absent; }\n")
    assert got.value.log == tmp_path / "log"


def test_selftests_are_built_with_the_compiler_that_was_asked_for(tmp_path: Path) -> None:
    cc = tmp_path / "gcc-99"
    cc.write_text('#!/bin/sh\nexec gcc -DVERSION=99 "$@"\n')
    cc.chmod(0o755)
    text = "int main(void) { return VERSION; }\n"
    output = build(tmp_path, str(cc), **dict.fromkeys(SELFTESTS, text))
    assert subprocess.run([output / "liveupdate"]).returncode == 99


def test_headers_are_installed_below_the_object_tree(tmp_path: Path) -> None:
    script = (
        'for word; do case $word in INSTALL_HDR_PATH=*) mkdir -p "${word#*=}/include";; esac; done'
    )
    include = install_headers(["sh", "-c", script, "make"], tmp_path / "obj", tmp_path / "log")
    assert include.is_dir()
    assert (tmp_path / "obj") in include.parents


def test_headers_that_cannot_be_installed_are_an_error(tmp_path: Path) -> None:
    script = "echo 'scripts/x.c:7:1: error: no such thing'; exit 2"
    with pytest.raises(BuildError, match=r"headers_install: scripts/x\.c:7"):
        install_headers(["sh", "-c", script, "make"], tmp_path / "obj", tmp_path / "log")
