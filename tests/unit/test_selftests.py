# SPDX-License-Identifier: GPL-2.0-only
"""The tree's own selftests are built where there are some, and say why they do not build."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from harness.base.errors import BuildError
from harness.base.suite import SelftestSpec
from harness.kernel.selftests import build_selftests, install_headers
from harness.kernel.worktree import Trees

SELFTESTS = ("one", "two", "three")
SPEC = SelftestSpec(directory="own", programs=SELFTESTS)
SOURCES = Path("tree/tools/testing/selftests")


MAKEFILE = """\
all: $(OUTPUT)/one
$(OUTPUT)/%: %.c $(wildcard shared.c)
\t$(CC) $(USERCFLAGS) -o $@ $^ $(USERLDFLAGS)
"""


def write(tmp_path: Path, directory: str = "own", **sources: str) -> None:
    (tmp_path / SOURCES / directory).mkdir(parents=True, exist_ok=True)
    (tmp_path / SOURCES / directory / "Makefile").write_text(MAKEFILE)
    for name, text in sources.items():
        (tmp_path / SOURCES / directory).mkdir(parents=True, exist_ok=True)
        (tmp_path / SOURCES / directory / f"{name}.c").write_text(text)


def build(tmp_path: Path, *specs: SelftestSpec, cc: str = "gcc", **sources: str) -> Path:
    """Build a tree that has the selftests *sources*."""
    write(tmp_path, **sources)
    (tmp_path / "obj").mkdir(exist_ok=True)
    trees = Trees(sources=tmp_path / "tree", objects=tmp_path / "obj")
    return build_selftests(specs or (SPEC,), trees, tmp_path / "headers", cc=cc)


def test_tree_without_selftests_has_none(tmp_path: Path) -> None:
    assert list(build(tmp_path).iterdir()) == []


def test_every_selftest_is_built_with_what_they_share(tmp_path: Path) -> None:
    main = "int shared(void);\nint main(void) { return shared(); }\n"
    shared = {"shared": "int shared(void) { return 0; }\n"}
    output = build(tmp_path, **dict.fromkeys(SELFTESTS, main), **shared)
    assert sorted(path.name for path in output.iterdir()) == sorted(SELFTESTS)


def test_selftest_that_the_tree_does_not_have_is_left_out(tmp_path: Path) -> None:
    output = build(tmp_path, two="int main(void) { return 0; }\n")
    assert [path.name for path in output.iterdir()] == ["two"]


def test_selftests_of_several_directories_are_built(tmp_path: Path) -> None:
    main = "int main(void) { return 0; }\n"
    write(tmp_path, "own", one=main)
    write(tmp_path, "other", four=main)
    specs = [
        SelftestSpec(directory=name, programs=(program,))
        for name, program in (("own", "one"), ("absent", "x"), ("other", "four"))
    ]
    output = build(tmp_path, *specs)
    assert sorted(path.name for path in output.iterdir()) == ["four", "one"]


def test_selftest_that_is_no_longer_wanted_does_not_stay(tmp_path: Path) -> None:
    main = "int main(void) { return 0; }\n"
    write(tmp_path, one=main, two=main)
    build(tmp_path, SelftestSpec(directory="own", programs=("one",)))
    output = build(tmp_path, SelftestSpec(directory="own", programs=("two",)))
    assert [path.name for path in output.iterdir()] == ["two"]


def test_selftest_that_does_not_compile_is_named_with_file_and_line(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match=r"^selftest one: .*one\.c:2:.*error") as got:
        build(tmp_path, one="\nint main(void) { return absent; }\n")
    assert got.value.log == tmp_path / "obj.log"


def test_selftests_are_built_with_the_compiler_that_was_asked_for(tmp_path: Path) -> None:
    cc = tmp_path / "gcc-99"
    cc.write_text('#!/bin/sh\nexec gcc -DVERSION=99 "$@"\n')
    cc.chmod(0o755)
    text = "int main(void) { return VERSION; }\n"
    output = build(tmp_path, cc=str(cc), **dict.fromkeys(SELFTESTS, text))
    assert subprocess.run([output / SELFTESTS[0]]).returncode == 99


def test_headers_are_installed_below_the_object_tree(tmp_path: Path) -> None:
    script = (
        'for word; do case $word in INSTALL_HDR_PATH=*) mkdir -p "${word#*=}/include";; esac; done'
    )
    include = install_headers(["sh", "-c", script, "make"], tmp_path / "obj", tmp_path / "obj.log")
    assert include.is_dir()
    assert (tmp_path / "obj") in include.parents


def test_headers_that_cannot_be_installed_are_an_error(tmp_path: Path) -> None:
    script = "echo 'scripts/x.c:7:1: error: no such thing'; exit 2"
    with pytest.raises(BuildError, match=r"headers_install: scripts/x\.c:7"):
        install_headers(["sh", "-c", script, "make"], tmp_path / "obj", tmp_path / "obj.log")
