# SPDX-License-Identifier: GPL-2.0-only
"""What the kernel offers to modules, read from its own debug information and symbols."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from elftools.dwarf.die import DIE
from elftools.elf.elffile import ELFFile

from harness.kernel.build import KernelBuild

UNREGISTER = ("liveupdate_unregister_file_handler", "liveupdate_unregister_flb")
REGISTER = ("liveupdate_register_file_handler", "liveupdate_register_flb")


@pytest.fixture(scope="module")
def functions(kernel: KernelBuild) -> Iterator[dict[str, DIE]]:
    """The functions that register and unregister, by name."""
    found = {}
    addresses = [
        int(address, 16)
        for address, _, name in map(str.split, kernel.system_map.read_text().splitlines())
        if name in UNREGISTER + REGISTER
    ]
    with kernel.vmlinux.open("rb") as stream:
        dwarf = ELFFile(stream).get_dwarf_info()
        ranges = dwarf.get_aranges()
        # Looking at each unit of the kernel would take seconds.
        for offset in {ranges.cu_offset_at_addr(address) for address in addresses}:
            for die in dwarf.get_CU_at(offset).get_top_DIE().iter_children():
                if die.tag == "DW_TAG_subprogram" and "DW_AT_name" in die.attributes:
                    found[die.attributes["DW_AT_name"].value.decode()] = die
        yield found


@pytest.mark.fails_before(9)
@pytest.mark.parametrize("name", UNREGISTER)
def test_unregister_function_returns_void(functions: dict[str, DIE], name: str) -> None:
    assert "DW_AT_type" not in functions[name].attributes


@pytest.mark.parametrize("name", REGISTER)
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
