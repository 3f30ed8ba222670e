# SPDX-License-Identifier: GPL-2.0-only
"""What the kernel offers to modules, read from its own debug information and symbols."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from elftools.dwarf.die import DIE
from elftools.elf.elffile import ELFFile

from harness.build import KernelBuild

UNREGISTER = ("liveupdate_unregister_file_handler", "liveupdate_unregister_flb")
UNITS = ("kernel/liveupdate/luo_file.c", "kernel/liveupdate/luo_flb.c")


@pytest.fixture(scope="module")
def functions(kernel: KernelBuild) -> Iterator[dict[str, DIE]]:
    """The functions of the two files, by name."""
    found = {}
    with kernel.vmlinux.open("rb") as stream:
        for unit in ELFFile(stream).get_dwarf_info().iter_CUs():
            top = unit.get_top_DIE()
            if not top.attributes["DW_AT_name"].value.decode().endswith(UNITS):
                continue
            for die in top.iter_children():
                if die.tag == "DW_TAG_subprogram" and "DW_AT_name" in die.attributes:
                    found[die.attributes["DW_AT_name"].value.decode()] = die
        yield found


@pytest.mark.fails_before(9)
@pytest.mark.parametrize("name", UNREGISTER)
def test_unregister_function_returns_void(functions: dict[str, DIE], name: str) -> None:
    assert "DW_AT_type" not in functions[name].attributes


@pytest.mark.parametrize("name", ["liveupdate_register_file_handler", "liveupdate_register_flb"])
def test_register_function_returns_a_value(functions: dict[str, DIE], name: str) -> None:
    kind = functions[name].get_DIE_from_attribute("DW_AT_type")
    assert kind.attributes["DW_AT_name"].value == b"int"


@pytest.mark.parametrize("name", UNREGISTER)
def test_unregister_function_is_exported(kernel: KernelBuild, name: str) -> None:
    symbols = {line.split("\t")[1] for line in kernel.symvers.read_text().splitlines()}
    assert name in symbols


@pytest.mark.profiles("default", "debug", "coverage")
def test_no_test_hook_is_left_in_an_ordinary_kernel(kernel: KernelBuild) -> None:
    assert " liveupdate_test_unregister\n" not in kernel.system_map.read_text()
