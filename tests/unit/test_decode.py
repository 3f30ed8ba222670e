# SPDX-License-Identifier: GPL-2.0-only
"""Addresses in a splat get their source lines, from real binaries."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from harness.guest.decode import _below_tree, decode_splats
from harness.results.kernel_log import Splat

SOURCE = """\
#include <stdio.h>
int depth;
__attribute__((noinline)) void inner(char *start)
{
	char *back = __builtin_return_address(0);
	printf("%#lx\\n", (unsigned long)(back - start));
}
__attribute__((section(".init.text"))) int setup(int x)
{
	return x * depth;
}
int main(void)
{
	inner((char *)main);
	depth++;
	return 0;
}
"""
CALL = 1 + SOURCE.splitlines().index("\tinner((char *)main);")
SETUP = range(8, 12)

NOWHERE = Path("/nonexistent")


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("decode")
    (made / "probe.c").write_text(SOURCE)
    for output in (["-o", "probe"], ["-c", "-o", "probe.ko"]):
        words = ["gcc", "-g", "-O0", *output, "probe.c"]
        subprocess.run(words, cwd=made, check=True)
    return made


@pytest.fixture(scope="module")
def binary(directory: Path) -> Path:
    return directory / "probe"


@pytest.fixture(scope="module")
def frame(binary: Path) -> str:
    """Return the frame of the call in main(), as a kernel would print its return address."""
    offset = subprocess.run([binary], check=True, capture_output=True, text=True).stdout.strip()
    return f"main+{offset}/0x100"


def decoded(text: str, vmlinux: Path, modules: dict[str, Path] | None = None) -> str:
    splat = Splat(kind="warning", title="WARNING", text=text, line=0)
    return decode_splats([splat], vmlinux, modules or {})[0]


def test_frame_gets_the_line_of_the_call(binary: Path, frame: str) -> None:
    """The return address itself belongs to the next line."""
    text = decoded(f"[    1.0]  {frame}\n", binary)
    assert re.fullmatch(rf"\[    1\.0\]  {re.escape(frame)} \(.*probe\.c:{CALL}\)\n", text)


def test_kernel_of_another_architecture_is_read_by_its_tools(
    binary: Path, frame: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for tool in ("nm", "addr2line"):
        program = tmp_path / f"aarch64-linux-gnu-{tool}"
        program.write_text(f'#!/bin/sh\ntouch {tmp_path}/{tool}-ran\nexec {tool} "$@"\n')
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    splat = Splat(kind="warning", title="WARNING", text=f" {frame}\n", line=0)
    assert f"probe.c:{CALL})" in decode_splats([splat], binary, {}, "aarch64")[0]
    assert sorted(path.name for path in tmp_path.glob("*-ran")) == ["addr2line-ran", "nm-ran"]


def test_each_of_several_frames_gets_its_line(binary: Path, frame: str) -> None:
    text = decoded(f" inner+0x1/0x10\n ? {frame}\n {frame}\n", binary)
    assert text.count(f"probe.c:{CALL})") == 2
    assert text.count("probe.c:") == 3


def test_stack_of_any_length_is_decoded(binary: Path) -> None:
    """A thousand addresses go to one command line."""
    frames = "".join(f" main+{hex(n)}/0x1000\n" for n in [*range(10_000, 12_500), 1, 4])
    lines = decoded(frames, binary).splitlines()
    assert len(lines) == 2502
    assert all("probe.c:" in line for line in lines[-2:])


def test_many_splats_are_decoded_at_once(
    binary: Path, frame: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kernel that prints a thousand of them in a minute would keep the tools busy for ten."""
    program = tmp_path / "nm"
    program.write_text(f'#!/bin/sh\necho >> {tmp_path}/ran\nexec {shutil.which("nm")} "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    splats = [
        Splat(kind="warning", title="WARNING", text=f"{n} {frame}\n", line=n) for n in range(1000)
    ]
    texts = decode_splats(splats, binary, {})
    assert [text.split()[0] for text in texts] == [str(n) for n in range(1000)]
    assert all(f"probe.c:{CALL})" in text for text in texts)
    assert (tmp_path / "ran").read_text() == "\n"


def test_module_with_its_build_id_is_the_module(directory: Path) -> None:
    text = f" setup+0x4/0x10 [probe {'0a' * 20}]\n"
    assert "probe.c:" in decoded(text, NOWHERE, {"probe": directory / "probe.ko"})


def test_start_of_a_function_is_not_taken_for_the_one_before(binary: Path) -> None:
    assert re.search(r"probe\.c:1[23]\)", decoded("main+0x0/0x100", binary))


def test_unknown_symbol_is_left_as_it_is(binary: Path) -> None:
    line = " no_such_function+0x1/0x10"
    assert decoded(line, binary) == line


def test_unknown_symbol_beside_a_known_one_is_left_as_it_is(binary: Path, frame: str) -> None:
    text = decoded(f" nowhere+0x1/0x10\n {frame}\n", binary)
    assert text.startswith(f" nowhere+0x1/0x10\n {frame} (")


def test_frame_of_a_module_is_looked_up_in_that_module(binary: Path, frame: str) -> None:
    line = f"{frame} [probe]"
    assert decoded(line, binary) == line
    assert f"probe.c:{CALL})" in decoded(line, NOWHERE, {"probe": binary})


def test_relocatable_module_has_its_lines(directory: Path, frame: str) -> None:
    assert f"probe.c:{CALL})" in decoded(
        f"{frame} [probe]", NOWHERE, {"probe": directory / "probe.ko"}
    )


def test_init_function_of_a_module_gets_no_line_of_another(directory: Path) -> None:
    """It is in a section of its own, whose addresses begin at 0 again."""
    text = decoded("setup+0x6/0x10 [probe]", NOWHERE, {"probe": directory / "probe.ko"})
    found = re.search(r"probe\.c:(\d+)", text)
    assert found is None or int(found.group(1)) in SETUP


def test_text_without_frames_runs_no_tool(binary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    text = "BUG: nothing to see"
    assert decoded(text, binary) == text


@pytest.mark.parametrize(
    ("place", "below"),
    [
        ("/c/obj-debug/../src/kernel/fork.c:7", "kernel/fork.c:7"),
        ("/c/obj-debug/./arch/x86/include/generated/asm/syscalls_64.h:3",
         "arch/x86/include/generated/asm/syscalls_64.h:3"),
        ("/c/work/archive-0a1b/src/mm/util.c:633", "mm/util.c:633"),
        ("/work/me/src/c/work/git-0a1b/tree-2/src/mm/util.c:633", "mm/util.c:633"),
        ("/home/me/module/file.c:9", "/home/me/module/file.c:9"),
    ],
)  # fmt: skip
def test_place_is_said_relative_to_the_tree(place: str, below: str) -> None:
    assert _below_tree(place) == below
