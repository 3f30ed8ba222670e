# SPDX-License-Identifier: GPL-2.0-only
"""What the tools said is understood, and a build is found again exactly when nothing changed."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from harness.arch import X86_64
from harness.build import (
    BuildWarning,
    Toolchain,
    build_key,
    cached_build,
    first_error,
    make_argv,
    new_warnings,
    parse_warnings,
)
from harness.spec import ProfileSpec
from harness.store import Store

TREE = Path("/cache/work/src")

# Lines as gcc 12, ld 2.40, modpost and objtool of Linux 7.0 print them.
RECORDED = """\
  CC      kernel/liveupdate/luo_file.o
  CC      lib/maple_tree.o
In file included from /cache/work/src/include/linux/kernel.h:16,
                 from /cache/work/src/kernel/fork.c:1:
/cache/work/src/lib/maple_tree.c: In function 'mas_wr_bnode':
/cache/work/src/lib/maple_tree.c:3480:1: warning: the frame size of 1488 bytes is larger than \
1280 bytes [-Wframe-larger-than=]
 3480 | }
      | ^
../kernel/liveupdate/luo_flb.c:12:9: warning: #warning old interface [-Wcpp]
   12 | #warning old interface
/cache/work/src/kernel/fork.c:7:5: note: declared here
  LD      vmlinux.o
vmlinux.o: warning: objtool: luo_thaw+0x12: unreachable instruction
ld: warning: vmlinux has a LOAD segment with RWX permissions
  MODPOST Module.symvers
WARNING: modpost: missing MODULE_DESCRIPTION() in lib/test.o
WARNING: modpost: vmlinux: section mismatch in reference: a+0x1 (section: .text) -> b (section: \
.init.text)
"""

FAILED = """\
  CC      kernel/liveupdate/luo_file.o
/cache/work/src/kernel/a.c:3:2: warning: #warning old [-Wcpp]
{first}
/cache/work/src/kernel/b.c:9:1: error: a later one
make[3]: *** [/cache/work/src/scripts/Makefile.build:289: kernel/a.o] Error 1
make: *** [Makefile:248: __sub-make] Error 2
"""


def warning(
    message: str = "bad", *, file: str = "kernel/a.c", line: int = 1, option: str = "-Wx"
) -> BuildWarning:
    return BuildWarning(file=file, line=line, message=message, option=option)


# -- warnings --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "expected",
    [
        warning(
            "the frame size of 1488 bytes is larger than 1280 bytes",
            file="lib/maple_tree.c",
            line=3480,
            option="-Wframe-larger-than=",
        ),
        warning(
            "#warning old interface", file="kernel/liveupdate/luo_flb.c", line=12, option="-Wcpp"
        ),
        warning(
            "objtool: luo_thaw+0x12: unreachable instruction", file="vmlinux.o", line=0, option=""
        ),
        warning("vmlinux has a LOAD segment with RWX permissions", file="ld", line=0, option=""),
        warning("modpost: missing MODULE_DESCRIPTION() in lib/test.o", file="", line=0, option=""),
        warning(
            "modpost: vmlinux: section mismatch in reference: a+0x1 (section: .text) -> "
            "b (section: .init.text)",
            file="",
            line=0,
            option="",
        ),
    ],
    ids=lambda w: w.message.split()[1],
)
def test_parse_recorded_warning(expected: BuildWarning) -> None:
    assert expected in parse_warnings(RECORDED, TREE)


def test_parse_finds_nothing_else() -> None:
    assert len(parse_warnings(RECORDED, TREE)) == 6


def test_parse_warning_of_a_header_counts_once() -> None:
    line = "/cache/work/src/include/linux/a.h:3:1: warning: bad [-Wx]\n"
    assert len(parse_warnings(line * 3, TREE)) == 1


def test_parse_errors_are_no_warnings() -> None:
    assert parse_warnings("/cache/work/src/kernel/a.c:3:1: error: bad [-Werror=x]\n", TREE) == ()


def test_parse_without_tree_keeps_the_whole_name() -> None:
    (found,) = parse_warnings("/elsewhere/a.c:3: warning: bad\n")
    assert found == warning(file="/elsewhere/a.c", line=3, option="")


@pytest.mark.parametrize(
    ("found", "text"),
    [
        (warning("bad", line=3), "kernel/a.c:3: bad [-Wx]"),
        (warning("bad", file="vmlinux.o", line=0, option=""), "vmlinux.o: bad"),
    ],
)
def test_warning_reads_as_the_compiler_prints_it(found: BuildWarning, text: str) -> None:
    assert str(found) == text


def test_new_warnings_moved_line_is_not_new() -> None:
    assert new_warnings([warning(line=1)], [warning(line=20)]) == ()


def test_new_warnings_second_of_the_same_kind_is_new() -> None:
    after = [warning(line=1), warning(line=9)]
    assert new_warnings([warning(line=1)], after) == (after[1],)


@pytest.mark.parametrize("other", [warning("worse"), warning(file="kernel/b.c")])
def test_new_warnings_other_message_or_file_is_new(other: BuildWarning) -> None:
    assert new_warnings([warning()], [warning(), other]) == (other,)


def test_new_warnings_gone_warning_is_not_new() -> None:
    assert new_warnings([warning(), warning("gone")], [warning()]) == ()


# -- errors ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line",
    [
        "/cache/work/src/kernel/a.c:1:22: error: expected ';' before '}' token",
        "/cache/work/src/kernel/a.c:1:10: fatal error: none.h: No such file or directory",
        'ERROR: modpost: "liveupdate_flb_get" [luo_test.ko] undefined!',
        "ld: kernel/a.o: in function `f': a.c:(.text+0x3): undefined reference to `g'",
        "ld: cannot find -lelf: No such file or directory",
        "make[1]: *** No rule to make target 'kernel/a.o', needed by 'kernel/built-in.a'.  Stop.",
    ],
)
def test_first_error_is_found_behind_warnings(line: str) -> None:
    assert first_error(FAILED.format(first=line)) == line


def test_first_error_is_no_linker_warning() -> None:
    error = "ld: cannot find -lelf: No such file or directory"
    assert first_error(f"ld: warning: a.out has an executable stack\n{error}\n") == error


def test_first_error_without_any_is_the_last_line() -> None:
    assert first_error("one\n\ncc1: out of memory\n\n") == "cc1: out of memory"


def test_first_error_of_nothing_says_so() -> None:
    assert first_error("") == "make said nothing"


# -- the key ---------------------------------------------------------------------------------


@pytest.fixture
def inputs(tmp_path: Path) -> dict[str, Any]:
    """Everything that goes into a key."""
    configs, module = tmp_path / "configs", tmp_path / "kmod"
    configs.mkdir()
    module.mkdir()
    for name in ("base.config", X86_64.fragment, "debug.config"):
        (configs / name).write_text(f"# {name}\n")
    (module / "main.c").write_text("/* main */\n")
    profile = ProfileSpec(
        name="p",
        description="",
        fragments=(configs / "base.config", configs / "debug.config"),
        cmdline=("quiet",),
        memory_mib=512,
        cpus=2,
        timeout_scale=1.0,
    )
    return {
        "tree": "0123abcd",
        "arch": X86_64,
        "profile": profile,
        "localversion": "-p07",
        "kmod_source": module,
        "toolchain": Toolchain(compiler="gcc 12", linker="ld 2.40", ccache=True),
    }


def test_key_same_inputs_same_key(inputs: dict[str, Any]) -> None:
    assert build_key(**inputs) == build_key(**inputs)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("tree", "4567cdef"),
        ("localversion", "-p08"),
        ("arch", dataclasses.replace(X86_64, name="arm64")),
        ("toolchain", Toolchain(compiler="gcc 13", linker="ld 2.40", ccache=True)),
        ("toolchain", Toolchain(compiler="gcc 12", linker="ld 2.41", ccache=True)),
    ],
    ids=["tree", "localversion", "arch", "compiler", "linker"],
)
def test_key_changes_with_every_value(inputs: dict[str, Any], name: str, value: object) -> None:
    assert build_key(**inputs) != build_key(**inputs | {name: value})


@pytest.mark.parametrize(
    "file", ["configs/base.config", "configs/x86_64.config", "configs/debug.config", "kmod/main.c"]
)
def test_key_changes_with_every_file(inputs: dict[str, Any], tmp_path: Path, file: str) -> None:
    before = build_key(**inputs)
    with (tmp_path / file).open("a") as stream:
        stream.write("/* changed */\n")
    assert build_key(**inputs) != before


def test_key_changes_with_a_new_file_of_the_module(inputs: dict[str, Any], tmp_path: Path) -> None:
    before = build_key(**inputs)
    (tmp_path / "kmod/new.c").touch()
    assert build_key(**inputs) != before


def test_key_changes_with_the_order_of_fragments(inputs: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "configs/more.config").write_text("# more\n")
    first, *rest = inputs["profile"].fragments
    more = (*rest, tmp_path / "configs/more.config")
    keys = {
        build_key(**inputs | {"profile": dataclasses.replace(inputs["profile"], fragments=order)})
        for order in ((first, *more), (first, *reversed(more)))
    }
    assert len(keys) == 2


def test_key_does_not_change_with_how_the_kernel_is_run(inputs: dict[str, Any]) -> None:
    profile = dataclasses.replace(
        inputs["profile"], cmdline=("debug",), memory_mib=4096, cpus=8, timeout_scale=9.0
    )
    assert build_key(**inputs | {"profile": profile}) == build_key(**inputs)


def test_key_does_not_change_with_ccache(inputs: dict[str, Any]) -> None:
    without = dataclasses.replace(inputs["toolchain"], ccache=False)
    assert build_key(**inputs | {"toolchain": without}) == build_key(**inputs)


def test_key_does_not_change_with_the_place_of_files(
    inputs: dict[str, Any], tmp_path: Path
) -> None:
    before = build_key(**inputs)
    moved = tmp_path / "moved"
    (tmp_path / "configs").rename(moved)
    fragments = tuple(moved / path.name for path in inputs["profile"].fragments)
    profile = dataclasses.replace(inputs["profile"], fragments=fragments)
    assert build_key(**inputs | {"profile": profile}) == before


# -- the cache and the command line ----------------------------------------------------------


def test_cached_build_absent_is_none(tmp_path: Path) -> None:
    assert cached_build(Store(tmp_path), "k") is None


def test_cached_build_has_what_was_stored(tmp_path: Path) -> None:
    store = Store(tmp_path)
    facts = {"arch": "x86_64", "profile": "p", "commit": "c", "tree": "t", "release": "7.0-p07"}
    with store.produce("build", "k") as entry:
        stored = facts | {"warnings": [asdict(warning())], "seconds": 1.5}
        (entry / "build.json").write_text(json.dumps(stored))
    found = cached_build(store, "k")
    assert found is not None
    assert {name: getattr(found, name) for name in facts} == facts
    assert (found.cached, found.warnings, found.seconds) == (True, (warning(),), 1.5)
    assert found.image == found.directory / "kernel"


def argv(**change: Any) -> list[str]:
    how = {"arch": X86_64, "localversion": "-p07", "jobs": 3, "ccache": True} | change
    return [str(word) for word in make_argv(Path("/src"), Path("/obj"), **how)]


def test_make_argv_is_reproducible() -> None:
    assert {"KBUILD_BUILD_TIMESTAMP=@0", "KBUILD_BUILD_USER=harness", "ARCH=x86"} <= set(argv())


@pytest.mark.parametrize(("ccache", "word"), [(True, "CC=ccache gcc"), (False, "CC=gcc")])
def test_make_argv_uses_ccache_if_there_is_one(ccache: bool, word: str) -> None:
    assert word in argv(ccache=ccache)


def test_make_argv_jobs() -> None:
    assert "-j3" in argv(jobs=3)
