# SPDX-License-Identifier: GPL-2.0-only
"""A module of the suite that does not build is said in the compiler's or modpost's words."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.base.errors import BuildError
from harness.base.suite import ModuleSpec
from harness.kernel.kmod import build_module


def build(tmp_path: Path, script: str) -> Path:
    """Run *script* in the place of make; its arguments are what make would get."""
    return build_module(
        ModuleSpec(name="own", source=tmp_path / "source"),
        tmp_path / "out",
        make=["sh", "-c", script, "make"],
        log_file=tmp_path / "log",
    )


def making(name: str) -> str:
    """Return a script that makes the file *name* where modules go."""
    return f'for word; do case $word in MO=*) : >"${{word#MO=}}/{name}";; esac; done'


def test_build_writes_beside_the_source(tmp_path: Path) -> None:
    module = build(tmp_path, making("own.ko"))
    assert module == tmp_path / "out/own.ko"
    assert module.exists()
    assert not (tmp_path / "source").exists()


@pytest.mark.parametrize(
    "line",
    [
        "source/main.c:7:1: error: unknown type name own",
        "ERROR: modpost: absent_get [own.ko] undefined!",
    ],
)
def test_build_failure_names_the_first_error(tmp_path: Path, line: str) -> None:
    with pytest.raises(BuildError) as caught:
        build(tmp_path, f"echo '  CC main.o'; echo '{line}'; echo 'error: later'; exit 2")
    assert str(caught.value) == f"the module own does not build: {line}"
    assert caught.value.log == tmp_path / "log"


def test_build_that_makes_another_module_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match=r"source makes no own\.ko$") as caught:
        build(tmp_path, making("other.ko"))
    assert "Kbuild names another obj-m" in (caught.value.hint or "")


def test_build_failure_without_words_points_to_the_log(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="see the log"):
        build(tmp_path, "exit 2")


def test_build_defines_what_the_sources_ask_for(tmp_path: Path) -> None:
    script = 'for word; do echo "$word"; done >"$PWD/words"; ' + making("own.ko")
    build_module(
        ModuleSpec(name="own", source=tmp_path / "source"),
        tmp_path / "out",
        make=["env", "-C", tmp_path, "sh", "-c", script, "make"],
        macros=("HAVE_A", "HAVE_B"),
        log_file=tmp_path / "log",
    )
    assert "KCFLAGS=-DHAVE_A -DHAVE_B" in (tmp_path / "words").read_text().splitlines()
