# SPDX-License-Identifier: GPL-2.0-only
"""Requests are checked against the tree, and nothing that was asked for is lost silently."""

from __future__ import annotations

import gc
import os
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from harness.base.arch import X86_64
from harness.base.errors import KconfigError
from harness.kernel.fragment import read_config, read_fragment
from harness.kernel.kconfig import KernelConfig, configure
from harness.kernel.reasons import explain
from harness.kernel.symbols import check_requests, load_kconfig

KCONFIG = """\
mainmenu "Tiny"

config MODULES
	bool "Modules"
	modules

config BASE
	bool "Base"
	help
		What the others stand on.

config LEAF
	bool "Leaf"
	depends on BASE && !RIVAL

config RIVAL
	bool "Rival"

config DRIVER
	tristate "Driver"
	depends on MODULES

config HIDDEN
	bool

config PULLED
	bool "Pulled"

config PULLER
	bool "Puller"
	select PULLED

config COUNT
	int "Count"
	default 3

config ADDRESS
	hex "Address"
	default 0x100

config NAME
	string "Name"

config BARE_NUMBER
	int "Bare number"

config EXPERT
	bool "Expert"

config USUAL
	bool "Usual" if EXPERT
	default y

config RENAMED
	bool
	transitional
	help
		Read from old configurations only.

choice
	prompt "Allocator"
	default FAST

config FAST
	bool "Fast"

config SMALL
	bool "Small"

endchoice
"""

# Stands in for the kernel's own: the same target, made by plain kconfiglib.
MAKEFILE = """\
allnoconfig:
	@echo ran $@
	@sed -E '/^\\t(modules|transitional)$$/d' Kconfig >plain.Kconfig
	@{python} -m $@ plain.Kconfig
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    path = tmp_path / "tree"
    path.mkdir()
    (path / "Kconfig").write_text(KCONFIG)
    (path / "Makefile").write_text(MAKEFILE.format(python=sys.executable))
    return path


def fragment(tmp_path: Path, text: str, name: str = "one.config") -> Path:
    path = tmp_path / name
    path.write_text(text)
    return path


def check(tree: Path, tmp_path: Path, text: str) -> None:
    check_requests(tree, X86_64, read_fragment(fragment(tmp_path, text)))


def configured(tree: Path, *fragments: Path) -> KernelConfig:
    objdir = tree.parent / "obj"
    log_file = tree.parent / "make.log"
    make = ["make", "-C", tree, "--no-print-directory"]
    return configure(
        tree,
        objdir,
        arch=X86_64,
        fragments=fragments,
        make=[*make, f"KCONFIG_CONFIG={objdir / '.config'}"],
        log_file=log_file,
    )


# -- checks before a build -------------------------------------------------------------------


def test_check_unknown_symbol_names_file_line_and_the_nearest(tree: Path, tmp_path: Path) -> None:
    with pytest.raises(KconfigError, match=r"one\.config:2: .*no symbol CONFIG_PULER ") as caught:
        check(tree, tmp_path, "CONFIG_BASE=y\nCONFIG_PULER=y\n")
    assert caught.value.symbols == ("PULER",)
    assert "PULLER" in (caught.value.hint or "")


def test_check_symbol_that_is_only_mentioned_is_unknown(tree: Path, tmp_path: Path) -> None:
    with (tree / "Kconfig").open("a") as stream:
        stream.write('config USER\n\tbool "User"\n\tdepends on GHOST\n')
    with pytest.raises(KconfigError, match="no symbol CONFIG_GHOST"):
        check(tree, tmp_path, "CONFIG_GHOST=y\n")


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("CONFIG_BASE=m", "bool"),
        ("CONFIG_DRIVER=2", "tristate"),
        ("CONFIG_COUNT=y", "int"),
        ("CONFIG_COUNT=0x10", "int"),
        ("CONFIG_ADDRESS=100", "hex"),
        ("CONFIG_NAME=bare", "string"),
    ],
)
def test_check_wrong_type_names_file_line_and_type(
    tree: Path, tmp_path: Path, line: str, kind: str
) -> None:
    with pytest.raises(KconfigError, match=rf"one\.config:2: .* is of type {kind}, '.*' is not"):
        check(tree, tmp_path, f"CONFIG_BASE=y\n{line}\n")


@pytest.mark.parametrize(
    "line",
    [
        "CONFIG_BASE=y",
        "CONFIG_BASE=n",
        "CONFIG_DRIVER=m",
        "CONFIG_COUNT=-7",
        "CONFIG_ADDRESS=0xFf",
        'CONFIG_NAME="two words"',
    ],
)
def test_check_accepts_what_fits(tree: Path, tmp_path: Path, line: str) -> None:
    check(tree, tmp_path, f"{line}\n")


# -- configuring -----------------------------------------------------------------------------


def test_configure_fulfils_every_request(tree: Path, tmp_path: Path) -> None:
    text = 'CONFIG_BASE=y\nCONFIG_LEAF=y\nCONFIG_COUNT=9\nCONFIG_NAME="x"\nCONFIG_RIVAL=n\n'
    values = read_config(configured(tree, fragment(tmp_path, text)).path)
    found = [values[name] for name in ("BASE", "LEAF", "COUNT", "NAME", "RIVAL")]
    assert found == ["y", "y", "9", '"x"', "n"]


@pytest.mark.parametrize(("expert", "usual"), [("y", "n"), ("n", "y")])
def test_configure_leaves_out_every_default_that_it_may(
    tree: Path, tmp_path: Path, expert: str, usual: str
) -> None:
    config = configured(tree, fragment(tmp_path, f"CONFIG_EXPERT={expert}\n"))
    assert read_config(config.path)["USUAL"] == usual


def test_configure_unknown_symbol_is_refused_before_make_runs(tree: Path, tmp_path: Path) -> None:
    with pytest.raises(KconfigError, match="no symbol"):
        configured(tree, fragment(tmp_path, "CONFIG_ABSENT=y\n"))
    assert not (tmp_path / "make.log").exists()


@pytest.mark.parametrize(
    ("text", "symbols", "why"),
    [
        ("CONFIG_LEAF=y\n", ("LEAF",), r"is n: unmet dependency BASE \(BASE=n\)"),
        (
            "CONFIG_BASE=y\nCONFIG_RIVAL=y\nCONFIG_LEAF=y\n",
            ("LEAF",),
            r"one\.config:3, is n: unmet dependency !RIVAL \(RIVAL=y\)",
        ),
        ("CONFIG_HIDDEN=y\n", ("HIDDEN",), "is n: it has no prompt, only other symbols"),
        ("CONFIG_PULLER=y\nCONFIG_PULLED=n\n", ("PULLED",), "is y: selected by PULLER"),
        ("CONFIG_FAST=y\nCONFIG_SMALL=y\n", ("FAST",), "is n: the choice fell on SMALL"),
    ],
)
def test_configure_lost_symbol_is_named_with_the_reason(
    tree: Path, tmp_path: Path, text: str, symbols: tuple[str, ...], why: str
) -> None:
    with pytest.raises(KconfigError, match=why) as caught:
        configured(tree, fragment(tmp_path, text))
    assert caught.value.symbols == symbols


def test_configure_several_lost_symbols_are_all_named(tree: Path, tmp_path: Path) -> None:
    with pytest.raises(KconfigError, match="2 requested symbols did not survive") as caught:
        configured(tree, fragment(tmp_path, "CONFIG_LEAF=y\nCONFIG_HIDDEN=y\n"))
    assert caught.value.symbols == ("LEAF", "HIDDEN")


def test_configure_lost_symbol_is_said_again_the_next_time(tree: Path, tmp_path: Path) -> None:
    lost = fragment(tmp_path, "CONFIG_LEAF=y\n")
    for _ in range(2):
        with pytest.raises(KconfigError, match="did not survive"):
            configured(tree, lost)


def test_configure_again_runs_no_make(tree: Path, tmp_path: Path) -> None:
    wanted = fragment(tmp_path, "CONFIG_BASE=y\n")
    first = configured(tree, wanted)
    log = (tmp_path / "make.log").read_text()
    second = configured(tree, wanted)
    assert (second, (tmp_path / "make.log").read_text()) == (first, log)


def test_configure_changed_fragment_is_applied(tree: Path, tmp_path: Path) -> None:
    configured(tree, fragment(tmp_path, "CONFIG_BASE=y\n"))
    config = configured(tree, fragment(tmp_path, "CONFIG_BASE=n\n"))
    assert read_config(config.path)["BASE"] == "n"


def test_configure_same_result_keeps_its_time(tree: Path, tmp_path: Path) -> None:
    path = configured(tree, fragment(tmp_path, "CONFIG_BASE=y\n")).path
    os.utime(path, (1000, 1000))
    configured(tree, fragment(tmp_path, "# said in other words\nCONFIG_BASE=y\n"))
    assert path.stat().st_mtime == 1000


def test_configure_changed_kconfig_is_noticed(tree: Path, tmp_path: Path) -> None:
    wanted = fragment(tmp_path, "CONFIG_BASE=y\n")
    configured(tree, wanted)
    (tree / "Kconfig").write_text(KCONFIG.replace("BASE", "BASIS"))
    with pytest.raises(KconfigError, match="no symbol CONFIG_BASE"):
        configured(tree, wanted)


def test_configure_failing_make_points_to_the_log(tree: Path, tmp_path: Path) -> None:
    (tree / "Makefile").write_text("allnoconfig:\n\t@echo no compiler; exit 1\n")
    with pytest.raises(KconfigError, match="make could not configure") as caught:
        configured(tree, fragment(tmp_path, "CONFIG_BASE=y\n"))
    assert caught.value.log is not None
    assert "no compiler" in caught.value.log.read_text()


# -- reading the tree ------------------------------------------------------------------------


def test_load_kconfig_knows_the_property_transitional(tree: Path) -> None:
    assert load_kconfig(tree, X86_64).syms["RENAMED"].nodes


def test_load_kconfig_int_without_default_is_0(tree: Path) -> None:
    assert load_kconfig(tree, X86_64).syms["BARE_NUMBER"].str_value == "0"


@pytest.mark.parametrize(("base", "rival", "value"), [("y", "n", 2), ("n", "y", 0), ("n", "n", 2)])
def test_load_kconfig_depends_on_if(
    tree: Path, tmp_path: Path, base: str, rival: str, value: int
) -> None:
    with (tree / "Kconfig").open("a") as stream:
        stream.write("config BOUND\n\tdef_bool y\n\tdepends on BASE if RIVAL\n")
    config = fragment(tmp_path, f"CONFIG_BASE={base}\nCONFIG_RIVAL={rival}\n", ".config")
    assert load_kconfig(tree, X86_64, config).syms["BOUND"].tri_value == value


def test_load_kconfig_broken_file_is_an_error(tree: Path) -> None:
    (tree / "Kconfig").write_text("config\n")
    with pytest.raises(KconfigError, match="cannot read the Kconfig files"):
        load_kconfig(tree, X86_64)
    with warnings.catch_warnings():
        # kconfiglib leaves the file that it stumbles over open.
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


def test_load_kconfig_in_threads_changes_nothing_of_the_process(tree: Path) -> None:
    """What probes see of it is theirs alone, so that trees are read, and others work, at once."""
    probes = "".join(
        f'\nconfig {name}\n\tstring\n\tdefault "$(shell,{line})"\n'
        for name, line in (("WHERE", "pwd"), ("WHAT", "sleep 0.1; echo $SRCARCH; echo two"))
    )
    with (tree / "Kconfig").open("a") as file:
        file.write(probes)
    here, environment = Path.cwd(), dict(os.environ)
    seen = set()
    with ThreadPoolExecutor() as pool:
        parsed = [pool.submit(load_kconfig, tree, X86_64) for _ in range(4)]
        while not all(future.done() for future in parsed):
            seen.add((Path.cwd(), os.environ == environment))
    assert seen == {(here, True)}
    values = [future.result().syms for future in parsed]
    assert {syms["WHAT"].str_value for syms in values} == {"x86 two"}
    assert len({syms["WHERE"].str_value for syms in values} - {str(here)}) == len(parsed)


def test_load_kconfig_asks_the_compiler_that_was_named(tree: Path, tmp_path: Path) -> None:
    cc = tmp_path / "gcc-99"
    cc.write_text("#!/bin/sh\necho gcc 99.1\n")
    cc.chmod(0o755)
    with (tree / "Kconfig").open("a") as file:
        file.write('\nconfig CC_TEXT\n\tstring\n\tdefault "$(CC_VERSION_TEXT)"\n')
        file.write('\nconfig CC_SAID\n\tstring\n\tdefault "$(shell,$(CC) -v)"\n')
    symbols = load_kconfig(tree, X86_64, cc=str(cc)).syms
    assert {symbols[name].str_value for name in ("CC_TEXT", "CC_SAID")} == {"gcc 99.1"}


def test_load_kconfig_leaves_directory_and_environment_alone(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ARCH", "mine")
    before = (Path.cwd(), dict(os.environ))
    load_kconfig(tree, X86_64)
    assert (Path.cwd(), dict(os.environ)) == before


# -- explaining ------------------------------------------------------------------------------


def explained(tree: Path, tmp_path: Path, name: str, config: str) -> dict[str, str]:
    text = explain(tree, X86_64, fragment(tmp_path, config, ".config"), name)
    first, *rest = text.splitlines()
    pairs = {"": first} | {line[2:13].strip(): line[14:] for line in rest}
    return {word: said.strip() for word, said in pairs.items()}


@pytest.mark.parametrize("name", ["LEAF", "CONFIG_LEAF"])
def test_explain_names_the_unmet_dependency(tree: Path, tmp_path: Path, name: str) -> None:
    said = explained(tree, tmp_path, name, "CONFIG_BASE=y\nCONFIG_RIVAL=y\n")
    assert said[""] == "CONFIG_LEAF=n  (bool)"
    assert said["depends on"] == "BASE && !RIVAL"
    assert said["unmet"] == "!RIVAL (RIVAL=y)"


def test_explain_where_it_is_defined(tree: Path, tmp_path: Path) -> None:
    line = KCONFIG.splitlines().index("config LEAF") + 1
    assert explained(tree, tmp_path, "LEAF", "")["defined"] == f"Kconfig:{line}"


def test_explain_what_selects_it(tree: Path, tmp_path: Path) -> None:
    said = explained(tree, tmp_path, "PULLED", "CONFIG_PULLER=y\n")
    assert (said["selected by"], said["unmet"]) == ("PULLER", "nothing")


def test_explain_symbol_without_prompt(tree: Path, tmp_path: Path) -> None:
    assert "only others can set it" in explained(tree, tmp_path, "HIDDEN", "")["prompt"]


def test_explain_unknown_symbol_names_the_nearest(tree: Path, tmp_path: Path) -> None:
    with pytest.raises(KconfigError, match="no symbol CONFIG_leef") as caught:
        explained(tree, tmp_path, "leef", "")
    assert "LEAF" in (caught.value.hint or "")


@pytest.mark.parametrize("how", ["source", "up", "link"])
def test_kconfig_file_outside_the_tree_is_not_read(tree: Path, tmp_path: Path, how: str) -> None:
    secret = tmp_path / "secret"
    secret.write_text("-----BEGIN PRIVATE KEY-----\n")
    (tree / "own").mkdir()
    name = {"source": str(secret), "up": "own/../../secret", "link": "own/Kconfig"}[how]
    if how == "link":
        (tree / name).symlink_to(secret)
    with (tree / "Kconfig").open("a") as stream:
        stream.write(f'source "{name}"\n')
    with pytest.raises(KconfigError, match="is outside the tree") as caught:
        load_kconfig(tree, X86_64)
    assert "PRIVATE" not in str(caught.value)
