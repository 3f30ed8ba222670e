# SPDX-License-Identifier: GPL-2.0-only
"""Fragments are read line by line, and the last word on a symbol counts."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.base.arch import X86_64
from harness.base.errors import KconfigError
from harness.base.spec import ProfileSpec
from harness.kernel.fragment import (
    fragments_of,
    lost_requests,
    read_config,
    read_fragment,
    requested,
)


def fragment(tmp_path: Path, text: str, name: str = "one.config") -> Path:
    path = tmp_path / name
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("line", "symbol", "value"),
    [
        ("CONFIG_BASE=y", "BASE", "y"),
        ("  CONFIG_BASE=m  ", "BASE", "m"),
        ("# CONFIG_BASE is not set", "BASE", "n"),
        ("CONFIG_COUNT=-5", "COUNT", "-5"),
        ('CONFIG_NAME="a = b"', "NAME", '"a = b"'),
    ],
)
def test_read_fragment_line(tmp_path: Path, line: str, symbol: str, value: str) -> None:
    (request,) = read_fragment(fragment(tmp_path, f"# a comment\n\n{line}\n"))
    assert (request.symbol, request.value, request.where) == (symbol, value, "one.config:3")


@pytest.mark.parametrize(
    ("line", "names", "value", "optional"),
    [
        ("CONFIG_IKCONFIG_PROC|CONFIG_NEW=y", ("IKCONFIG_PROC", "NEW"), "y", False),
        ("CONFIG_OLD=y  # optional", ("OLD",), "y", True),
        ('CONFIG_OLD|CONFIG_NEW="a b" # optional', ("OLD", "NEW"), '"a b"', True),
    ],
)
def test_read_fragment_line_for_several_kernels(
    tmp_path: Path, line: str, names: tuple[str, ...], value: str, optional: bool
) -> None:
    (request,) = read_fragment(fragment(tmp_path, f"{line}\n"))
    assert (request.names, request.value, request.optional) == (names, value, optional)


@pytest.mark.parametrize(
    ("line", "known", "wanted"),
    [
        ("CONFIG_OLD|CONFIG_NEW=y", ("OLD",), ["OLD"]),
        ("CONFIG_OLD|CONFIG_NEW=y", ("NEW",), ["NEW"]),
        ("CONFIG_OLD|CONFIG_NEW=y", ("NEW", "OLD"), ["OLD"]),
        # That there is neither is for the check of the symbols to say.
        ("CONFIG_OLD|CONFIG_NEW=y", (), ["OLD"]),
        ("CONFIG_OLD=y # optional", ("OLD",), ["OLD"]),
        ("CONFIG_OLD=y # optional", (), []),
    ],
)
def test_requested_by_the_name_that_the_tree_has(
    tmp_path: Path, line: str, known: tuple[str, ...], wanted: list[str]
) -> None:
    kconfig = tmp_path / "Kconfig"
    kconfig.write_text("".join(f"menuconfig {name}\n\tbool\n" for name in known))
    found = requested([fragment(tmp_path, f"{line}\n")], [kconfig])
    assert [request.symbol for request in found] == wanted


@pytest.mark.parametrize("line", ["BASE=y", "CONFIG_BASE", "CONFIG_BASE=", "include other"])
def test_read_fragment_names_file_and_line_of_what_is_none(tmp_path: Path, line: str) -> None:
    with pytest.raises(KconfigError, match=r"one\.config:2: not a configuration line"):
        read_fragment(fragment(tmp_path, f"CONFIG_BASE=y\n{line}\n"))


def test_read_fragment_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(KconfigError, match=r"cannot read .*absent\.config"):
        read_fragment(tmp_path / "absent.config")


def test_read_fragment_that_is_no_text_is_named(tmp_path: Path) -> None:
    (tmp_path / "one.config").write_bytes(b"# caf\xe9\nCONFIG_BASE=y\n")
    with pytest.raises(KconfigError, match=r"cannot read .*one\.config"):
        read_fragment(tmp_path / "one.config")


def test_requested_last_fragment_has_the_last_word(tmp_path: Path) -> None:
    first = fragment(tmp_path, "CONFIG_BASE=y\nCONFIG_LEAF=y\n")
    second = fragment(tmp_path, "CONFIG_BASE=n\n", "two.config")
    assert {r.symbol: (r.value, r.where) for r in requested([first, second], [])} == {
        "BASE": ("n", "two.config:1"),
        "LEAF": ("y", "one.config:2"),
    }


def test_fragments_of_architecture_comes_second() -> None:
    profile = ProfileSpec(
        name="p",
        description="",
        fragments=(Path("/f/base.config"), Path("/f/debug.config")),
        cmdline=(),
        memory_mib=64,
        cpus=1,
        timeout_scale=1.0,
    )
    names = [path.name for path in fragments_of(profile, X86_64)]
    assert names == ["base.config", "x86_64.config", "debug.config"]


def test_read_config_unset_symbol_is_n(tmp_path: Path) -> None:
    path = fragment(tmp_path, "CONFIG_A=y\n# CONFIG_B is not set\n# other\n")
    assert read_config(path) == {"A": "y", "B": "n"}


def test_lost_requests_absent_symbol_counts_as_n(tmp_path: Path) -> None:
    requests = read_fragment(fragment(tmp_path, "CONFIG_A=n\nCONFIG_B=y\n"))
    config = fragment(tmp_path, "CONFIG_C=y\n", ".config")
    assert [r.symbol for r in lost_requests(config, requests)] == ["B"]
