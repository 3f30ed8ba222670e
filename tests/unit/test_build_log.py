# SPDX-License-Identifier: GPL-2.0-only
"""What the tools said is understood, and nothing is forgotten by an incremental build."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.kernel.build_log import (
    BuildWarning,
    WarningLedger,
    first_error,
    new_warnings,
    parse_warnings,
    warnings_by_target,
)

TREE = Path("/cache/linux/src")

# Lines as gcc 12, ld 2.40, modpost and objtool of Linux 7.0 print them.
RECORDED = """\
  CC      kernel/liveupdate/luo_file.o
  CC      lib/maple_tree.o
In file included from /cache/linux/src/include/linux/kernel.h:16,
                 from /cache/linux/src/kernel/fork.c:1:
/cache/linux/src/lib/maple_tree.c: In function 'mas_wr_bnode':
/cache/linux/src/lib/maple_tree.c:3480:1: warning: the frame size of 1488 bytes is larger than \
1280 bytes [-Wframe-larger-than=]
 3480 | }
      | ^
../kernel/liveupdate/luo_flb.c:12:9: warning: #warning old interface [-Wcpp]
   12 | #warning old interface
/cache/linux/src/kernel/fork.c:7:5: note: declared here
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
/cache/linux/src/kernel/a.c:3:2: warning: #warning old [-Wcpp]
{first}
/cache/linux/src/kernel/b.c:9:1: error: a later one
make[3]: *** [/cache/linux/src/scripts/Makefile.build:289: kernel/a.o] Error 1
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
    line = "/cache/linux/src/include/linux/a.h:3:1: warning: bad [-Wx]\n"
    assert len(parse_warnings(line * 3, TREE)) == 1


def test_parse_errors_are_no_warnings() -> None:
    assert parse_warnings("/cache/linux/src/kernel/a.c:3:1: error: bad [-Werror=x]\n", TREE) == ()


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
        "/cache/linux/src/kernel/a.c:1:22: error: expected ';' before '}' token",
        "/cache/linux/src/kernel/a.c:1:10: fatal error: none.h: No such file or directory",
        'ERROR: modpost: "liveupdate_flb_get" [luo_test.ko] undefined!',
        "ld: kernel/a.o: in function `f': a.c:(.text+0x3): undefined reference to `g'",
        "ld: cannot find -lelf: No such file or directory",
        "make[1]: *** No rule to make target 'kernel/a.o', needed by 'kernel/built-in.a'.  Stop.",
    ],
)
def test_first_error_is_found_behind_warnings(line: str) -> None:
    assert first_error(FAILED.format(first=line)) == line


def test_first_error_names_files_from_the_top_of_the_tree() -> None:
    line = "kernel/liveupdate/luo_core.c:472:2: error: #error in the middle"
    assert first_error(f"{TREE}/{line}\n", TREE) == line


def test_first_error_is_no_linker_warning() -> None:
    error = "ld: cannot find -lelf: No such file or directory"
    assert first_error(f"ld: warning: a.out has an executable stack\n{error}\n") == error


def test_first_error_without_any_is_the_last_line() -> None:
    assert first_error("one\n\ncc1: out of memory\n\n") == "cc1: out of memory"


def test_first_error_of_nothing_says_so() -> None:
    assert first_error("") == "make said nothing"


# -- incremental builds ----------------------------------------------------------------------

WARNS = "{tree}/{file}.c:1:1: warning: bad [-Wx]\n"


def made(*files: str, warns: str = "") -> str:
    """Return the output of a build that makes *files*; one of them warns."""
    return "".join(
        f"  CC      {file}.o\n" + (WARNS.format(tree=TREE, file=file) if file == warns else "")
        for file in files
    )


def test_warnings_belong_to_the_target_before_them() -> None:
    found = warnings_by_target(made("a", "b", "c", warns="b"), TREE)
    assert {target: len(warnings) for target, warnings in found.items()} == {
        "a.o": 0,
        "b.o": 1,
        "c.o": 0,
    }


def test_ledger_keeps_what_was_not_made_again(tmp_path: Path) -> None:
    ledger = WarningLedger(tmp_path / "ledger")
    first = ledger.enter(made("a", "b", warns="a"), TREE)
    assert ledger.enter(made("b"), TREE) == first == (warning(file="a.c"),)


def test_ledger_drops_what_was_made_again_without_warning(tmp_path: Path) -> None:
    ledger = WarningLedger(tmp_path / "ledger")
    ledger.enter(made("a", "b", warns="a"), TREE)
    assert ledger.enter(made("a"), TREE) == ()


def test_ledger_same_output_twice_changes_nothing(tmp_path: Path) -> None:
    ledger = WarningLedger(tmp_path / "ledger")
    text = made("a", "b", warns="b")
    assert ledger.enter(text, TREE) == ledger.enter(text, TREE)


def test_ledger_header_warning_of_many_objects_is_one(tmp_path: Path) -> None:
    line = f"{TREE}/include/x.h:3:1: warning: bad [-Wx]\n"
    text = f"  CC      a.o\n{line}  CC      b.o\n{line}"
    assert len(WarningLedger(tmp_path / "ledger").enter(text, TREE)) == 1


def test_ledger_damaged_file_is_an_empty_one(tmp_path: Path) -> None:
    (tmp_path / "ledger").write_text("{")
    assert WarningLedger(tmp_path / "ledger").enter(made("a", warns="a"), TREE) != ()
