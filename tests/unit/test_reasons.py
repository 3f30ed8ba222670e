# SPDX-License-Identifier: GPL-2.0-only
"""A request that does not survive is told the reason, in the words of Kconfig.

What ``make`` itself makes of requests is asked of a kernel, in ``tests/project``; here are small
trees with what they came to.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.base.arch import X86_64
from harness.base.errors import KconfigError
from harness.kernel.fragment import read_fragment
from harness.kernel.reasons import explain, why
from harness.kernel.symbols import check_requests, load_kconfig, nearest

KCONFIG = """\
mainmenu "Tiny"

config MODULES
	bool "Modules"
	modules

config EXPERT
	bool "Expert"

config USUAL
	bool "Usual" if EXPERT
	default y

config FIXED
	bool
	default y if EXPERT
	default n

config HOST
	tristate "Host"

config OTHER
	tristate "Other"

config GUEST
	tristate "Guest"
	depends on HOST && OTHER

config ALWAYS_MODULE
	tristate "Always a module"
	depends on m

config PULLED
	tristate "Pulled"

config PULLER
	tristate "Puller"
	select PULLED
	imply LIKED

config LIKED
	bool "Liked" if EXPERT

config HIDDEN
	bool

config SHARED
	bool

config SETTER
	bool "Setter"
	select HIDDEN
	select SHARED if HOST

config NOBODYS
	bool

config PROBED
	bool "Probed"
	depends on $(success,false)

menu "Fine tuning"
	visible if EXPERT

config TUNED
	bool "Tuned"
	select SHARED

config TUNED_SIZE
	int "Size"
	default 3

endmenu

choice
	prompt "Allocator"
	default FAST

config FAST
	bool "Fast"

config SMALL
	bool "Small"

endchoice

choice
	prompt "Clock"
	depends on HOST=y

config HIGH
	bool "High"

config LOW
	bool "Low"

endchoice

config COUNT
	int "Count"
	range 2 8 if !EXPERT
	range 2 512
	default 4

config ADDRESS
	hex "Address" if EXPERT
	default 0x100

config NAME
	string "Name"
	depends on HOST
	default "two words"

config RATE
	int
	default 250 if FAST
	default 100

config NEW
	bool "New"
	default OLD

config OLD
	bool
	transitional

config ONLY_ARM
	bool "Only on arm"
	depends on ARM || ARM64 || COMPILE_TEST

config VERSIONED
	bool "Versioned"
	depends on TOOL_VERSION >= 122

config TOOL_VERSION
	int
	default 7
""".replace("$(success,false)", "n")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    path = tmp_path / "tree"
    for arch, names in {"arm": "ARM ARCH_X", "arm64": "ARM64 ARCH_X", "x86": "X86"}.items():
        (path / "arch" / arch).mkdir(parents=True)
        text = "".join(f'config {name}\n\tbool "{name}"\n\n' for name in names.split())
        (path / "arch" / arch / "Kconfig").write_text(text)
    (path / "Kconfig").write_text(KCONFIG + '\nsource "arch/x86/Kconfig"\n')
    return path


def told(tree: Path, request: str, config: str) -> str:
    """Return why a request has another value in a configuration."""
    file = tree.parent / ".config"
    file.write_text("".join(f"CONFIG_{line}\n" for line in config.split()))
    name, _, wanted = request.partition("=")
    values = dict(line.split("=", 1) for line in config.split())
    return why(load_kconfig(tree, X86_64, file), name, wanted, values.get(name, "n"))


@pytest.mark.parametrize(
    ("request_", "config", "reason"),
    [
        # Prompts.
        (
            "USUAL=n",
            "USUAL=y",
            "is y: its prompt is there only if EXPERT (EXPERT=n), and y is its default",
        ),
        (
            "LIKED=n",
            "PULLER=y LIKED=y",
            "is y: its prompt is there only if EXPERT (EXPERT=n), and implied by PULLER",
        ),
        ("TUNED=y", "", 'is n: the menu "Fine tuning" is visible only if EXPERT (EXPERT=n)'),
        (
            "TUNED_SIZE=9",
            "TUNED_SIZE=3",
            (
                'is 3: the menu "Fine tuning" is visible only if EXPERT (EXPERT=n), '
                "and 3 is its default"
            ),
        ),
        (
            "ADDRESS=0x1",
            "ADDRESS=0x100",
            "is 0x100: its prompt is there only if EXPERT (EXPERT=n), and 0x100 is its default",
        ),
        ("FIXED=n", "EXPERT=y FIXED=y", "is y: it has no prompt; it is y if EXPERT"),
        (
            "HIDDEN=y",
            "",
            "is n: it has no prompt, only other symbols can set it; SETTER selects it",
        ),
        (
            "NOBODYS=y",
            "",
            (
                "is n: it has no prompt, only other symbols can set it, and none does: "
                "n is its default"
            ),
        ),
        ("RATE=100", "FAST=y RATE=250", "is 250: it has no prompt; it is 250 if FAST"),
        (
            "SHARED=y",
            "",
            "is n: it has no prompt, only other symbols can set it; SETTER or TUNED select it",
        ),
        # Dependencies.
        ("GUEST=y", "MODULES=y", "is n: unmet dependency HOST (HOST=n); OTHER (OTHER=n)"),
        (
            "GUEST=y",
            "MODULES=y HOST=m OTHER=y GUEST=m",
            "is m: no more than a module, by dependency HOST (HOST=m)",
        ),
        (
            "ALWAYS_MODULE=y",
            "MODULES=y ALWAYS_MODULE=m",
            "is m: no more than a module, by dependency m",
        ),
        ("HOST=m", "HOST=y", "is y: there are no modules (MODULES=n)"),
        ("GUEST=m", "HOST=y", "is n: unmet dependency OTHER (OTHER=n)"),
        (
            "PROBED=y",
            "",
            (
                "is n: unmet dependency n (what Kconfig asks of the compiler or the host for it is "
                "not there)"
            ),
        ),
        ("VERSIONED=y", "", "is n: unmet dependency TOOL_VERSION >= 122 (TOOL_VERSION=7)"),
        (
            "ONLY_ARM=y",
            "",
            (
                "is n: unmet dependency ARM || ARM64 || COMPILE_TEST (ARM is of arm "
                "(arch/arm/Kconfig), ARM64 is of arm64 (arch/arm64/Kconfig), "
                "there is no COMPILE_TEST in this kernel)"
            ),
        ),
        ('NAME="x"', "", "is not set: unmet dependency HOST (HOST=n)"),
        # Selects.
        ("PULLED=n", "PULLER=y PULLED=y", "is y: selected by PULLER"),
        ("PULLED=m", "MODULES=y PULLER=y PULLED=y", "is y: selected by PULLER"),
        # Choices.
        ("FAST=y", "SMALL=y", "is n: the choice fell on SMALL"),
        (
            "FAST=n",
            "FAST=y",
            "is y: the choice fell on it, and there has to be one: choose SMALL",
        ),
        ("HIGH=y", "", "is n: unmet dependency HOST = y (HOST=n)"),
        # Numbers.
        ("COUNT=100", "COUNT=8", "is 8: its range is 2 to 8"),
        ("COUNT=1000", "EXPERT=y COUNT=512", "is 512: its range is 2 to 512"),
        (
            "COUNT=n",
            "COUNT=4",
            "is 4: it is of type int, and has a value where its dependencies are met",
        ),
        # Others' words.
        (
            "OLD=y",
            "NEW=y",
            "is transitional, read of old configurations only: it is NEW now",
        ),
    ],
)
def test_reason(tree: Path, request_: str, config: str, reason: str) -> None:
    assert told(tree, request_, config) == reason


# -- names that are none ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "message", "hint"),
    [
        ("CONFIG_host=y", "no symbol CONFIG_host in this kernel", "did you mean HOST?"),
        ("CONFIG_CONFIG_HOST=y", "no symbol CONFIG_CONFIG_HOST in", "did you mean HOST?"),
        ("CONFIG_config_Host=y", "no symbol CONFIG_config_Host in", "did you mean HOST?"),
        ("CONFIG_SIZE=1", "no symbol CONFIG_SIZE in", "did you mean TUNED_SIZE?"),
        ("CONFIG_HIDEN=y", "no symbol CONFIG_HIDEN in", "did you mean HIDDEN?"),
        ("CONFIG_ARM64=y", "no symbol CONFIG_ARM64 for x86", "it is of arm64 (arch/arm64/Kconfig)"),
        (
            "CONFIG_ARCH_X=y",
            "no symbol CONFIG_ARCH_X for x86",
            "it is of arm, arm64 (arch/arm/Kconfig)",
        ),
        ("CONFIG_QWERTY=y", "no symbol CONFIG_QWERTY in", "no symbol has a name like it"),
        ("CONFIG_COUNT=07", "is of type int, '07' is not", "a number without zeros before it"),
        ("CONFIG_FAST=m", "is of type bool, 'm' is not", "y or n; it cannot be a module"),
        ("CONFIG_NAME=x", "is of type string, 'x' is not", "a text in quotes"),
    ],
)
def test_request_that_makes_no_sense(
    tree: Path, tmp_path: Path, line: str, message: str, hint: str
) -> None:
    file = tmp_path / "one.config"
    file.write_text(f"{line}\n")
    with pytest.raises(KconfigError) as caught:
        check_requests(tree, X86_64, read_fragment(file))
    assert message in caught.value.message
    assert "one.config:1" in caught.value.message
    assert (caught.value.hint or "").startswith(hint)


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("kasan", "KASAN"),
        ("CONFIG_KASAN", "KASAN"),
        ("config_config_kasan", "KASAN"),
        ("KMEMLEAK", "DEBUG_KMEMLEAK"),
        ("kmemleak", "DEBUG_KMEMLEAK"),
        ("KMEMLEEK", None),
        ("INLINE", "KASAN_INLINE"),
        ("DEBUG_KMEMLEK", "DEBUG_KMEMLEAK"),
        ("KASAN_", "KASAN"),
    ],
)
def test_nearest_name(name: str, found: str | None) -> None:
    known = ["KASAN", "KASAN_INLINE", "DEBUG_KMEMLEAK", "DEBUG_KMEMLEAK_MEM_POOL_SIZE", "KCSAN"]
    assert next(iter(nearest(name, known)), None) == found


# -- explain ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "config", "lines"),
    [
        ("NAME", 'CONFIG_HOST=y\nCONFIG_NAME="a \\"b\\""\n', ['CONFIG_NAME="a \\"b\\""  (string)']),
        ("NAME", "", ["CONFIG_NAME is not set  (string)"]),
        ("ADDRESS", "CONFIG_ADDRESS=0x100\n", ["CONFIG_ADDRESS=0x100  (hex)"]),
        ("HOST", "CONFIG_MODULES=y\nCONFIG_HOST=m\n", ["CONFIG_HOST=m  (tristate)"]),
        ("USUAL", "# CONFIG_USUAL is not set\n", ["CONFIG_USUAL=n  (bool)"]),
        ("USUAL", "", ["  hidden      its prompt is there only if EXPERT (EXPERT=n)"]),
        ("COUNT", "CONFIG_COUNT=4\n", ["CONFIG_COUNT=4  (int)", "  range       2 to 8"]),
        ("OLD", "", ["  now         it is NEW now"]),
        ("HIGH", "", ["  unmet       HOST = y (HOST=n)"]),
    ],
)
def test_explanation_has(
    tree: Path, tmp_path: Path, name: str, config: str, lines: list[str]
) -> None:
    file = tmp_path / ".config"
    file.write_text(config)
    said = explain(tree, X86_64, file, name).splitlines()
    assert [line for line in lines if line not in said] == []


@pytest.mark.parametrize("name", ["host", "CONFIG_CONFIG_HOST", "CONFIG_host"])
def test_explanation_of_a_misspelt_name_names_the_right_one(tree: Path, name: str) -> None:
    file = tree.parent / ".config"
    file.write_text("")
    with pytest.raises(KconfigError) as caught:
        explain(tree, X86_64, file, name)
    assert caught.value.hint == "did you mean HOST?"
