# SPDX-License-Identifier: GPL-2.0-only
"""A series whose makefiles attack the host gets nowhere: a small tree is really built."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from shipped import SUITE
from strangers import Attacks, Victim, victim
from trees import git, opened, write

from harness.base.arch import X86_64
from harness.base.errors import BuildError, HarnessError
from harness.base.spec import ProfileSpec
from harness.base.store import Store
from harness.base.suite import ModuleSpec, SelftestSpec
from harness.kernel.apply import apply_series
from harness.kernel.build import KernelBuild, build_kernel, cached_build
from harness.kernel.make import BuildSpec, explain_symbol
from harness.kernel.series import read_series
from harness.kernel.toolchain import probe_toolchain
from harness.kernel.worktree import Trees, object_tree, work_tree

__all__ = ["victim"]

PARTS = "allnoconfig bzImage modules headers_install"
MAKEFILE = """\
VERSION = 7
PATCHLEVEL = 1
SUBLEVEL = 3
ifneq ($(M),)
$(MO)/own.ko: $(M)/own.c
	@$(CC) -c -o $@ $<
modules: $(MO)/own.ko
else
modules:
endif
allnoconfig:
	@cp $(KCONFIG_ALLCONFIG) $(KCONFIG_CONFIG)
bzImage:
	@mkdir -p $(O)/arch/x86/boot $(O)/include/config
	@$(CC) -g -c -o $(O)/vmlinux kernel/own.c
	@cp $(O)/vmlinux $(O)/arch/x86/boot/bzImage
	@echo 7.1.3 >$(O)/include/config/kernel.release
	@touch $(O)/Module.symvers $(O)/System.map
headers_install:
	@mkdir -p $(INSTALL_HDR_PATH)/include
"""
SELFTEST = "$(OUTPUT)/%: %.c\n\t@$(CC) -o $@ $< $(USERLDFLAGS)\n"
MAIN = "int main(void) { return 0; }\n"
FILES = {
    "Makefile": MAKEFILE,
    "Kconfig": 'config OWN\n\tbool "Own"\n',
    "kernel/own.c": MAIN,
    "tools/testing/selftests/own/Makefile": SELFTEST,
    "tools/testing/selftests/own/one.c": MAIN,
}

# What the series adds to the makefiles: all of them run the script, as one that goes before.
ATTACK = "\n{parts}: attack\nattack:\n\t@sh {top}/attack.sh {stage} {top}/attack.log\n"


@dataclasses.dataclass(frozen=True)
class Stranger:
    """A tree, and what a build of it is.

    :ivar files: what the series adds to files of the tree.
    """

    tree: Path
    store: Store
    directory: Path

    def send(self, **files: str) -> str:
        """Return a mailbox with a patch that writes *files*."""
        write(self.tree, files)
        git(self.tree, "add", ".")
        git(self.tree, "commit", "-qm", "own: a change")
        text = git(self.tree, "format-patch", "--stdout", "-1")
        git(self.tree, "reset", "-q", "--hard", "HEAD^")
        (self.directory / "series.mbx").write_text(text + "\n")
        return str(self.directory / "series.mbx")

    @contextlib.contextmanager
    def built(self, series: str, sandbox: str) -> Iterator[tuple[KernelBuild, Trees, BuildSpec]]:
        """Apply the series and build it, and have its trees in the block."""
        source = opened(self.store, path=self.tree)
        kwargs: dict[str, Any] = {"support": None, "progress": lambda text: None}
        at = apply_series(source, read_series(series), self.store, **kwargs).position(None)
        suite = dataclasses.replace(
            SUITE,
            modules=(ModuleSpec(name="own", source=self.directory / "kmod"),),
            selftests=(SelftestSpec(directory="own", programs=("one",)),),
            headers=(),
        )
        spec = BuildSpec(
            commit=at.commit,
            tree=at.tree,
            arch=X86_64,
            profile=profile(self.directory),
            localversion="",
            suite=suite,
            toolchain=probe_toolchain(),
            sandbox=sandbox,
        )
        with work_tree(source, at.commit, self.store, profile="own") as tree:
            trees = Trees(sources=tree, objects=object_tree(tree, "own"))
            build = build_kernel(spec, trees, self.store, progress=lambda text: None)
            yield build, trees, spec


def profile(directory: Path) -> ProfileSpec:
    return ProfileSpec(
        name="own",
        description="",
        fragments=(directory / "configs/own.config",),
        cmdline=(),
        memory_mib=128,
        cpus=1,
        timeout_scale=1.0,
    )


@pytest.fixture
def stranger(tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch) -> Stranger:
    """A tree that builds, in git, and a cache with nothing in it."""
    monkeypatch.delenv("CCACHE_DIR", raising=False)
    tree = write(tmp_path / "linux", FILES)
    git(tmp_path, "init", "-q", str(tree))
    git(tree, "add", ".")
    git(tree, "commit", "-qm", "base")
    configs = {"configs/own.config": "CONFIG_OWN=y\n", f"configs/{X86_64.fragment}": ""}
    write(tmp_path, configs | {"kmod/own.c": MAIN})
    return Stranger(tree, store, tmp_path)


def attacking(victim: Victim) -> dict[str, str]:
    """Return the files of a series that attacks wherever the tree has the word."""
    words = {
        "parts": PARTS,
        "top": "$(CURDIR)",
        "stage": "$(firstword $(MAKECMDGOALS))$(if $(M),-out)",
    }
    top = "$(CURDIR)/../../../.."
    selftest = {"parts": "$(OUTPUT)/one", "top": top, "stage": "selftest"}
    shell = "$(shell,sh $(srctree)/attack.sh kconfig $(srctree)/attack.log)"
    return {
        "attack.sh": victim.script,
        "Makefile": MAKEFILE + ATTACK.format(**words),
        "Kconfig": f'config OWN\n\tbool "Own"\n\tdefault y if "{shell}" != "x"\n',
        "tools/testing/selftests/own/Makefile": SELFTEST + ATTACK.format(**selftest),
    }


STAGES = (
    *("kconfig", "allnoconfig", "bzImage", "modules-out", "headers_install"),
    "selftest",
)


@pytest.mark.parametrize(("sandbox", "got"), [("off", set(Attacks)), ("require", set())])
def test_series_that_attacks_gets_nowhere(
    stranger: Stranger, victim: Victim, sandbox: str, got: set[Attacks]
) -> None:
    with stranger.built(stranger.send(**attacking(victim)), sandbox) as (build, trees, spec):
        victim.check(trees.sources / "attack.log", *STAGES)
        assert victim.got() == got
        (trees.sources / "attack.log").unlink()
        assert "CONFIG_OWN=y" in explain_symbol(spec, trees, trees.objects / ".config", "OWN")
        victim.check(trees.sources / "attack.log", "kconfig")
        assert victim.got() == got
    assert list(build.modules) == ["own"]
    assert [path.name for path in build.userspace.iterdir()] == ["one"]


@pytest.mark.parametrize(
    ("sandbox", "noted"), [("off", "it was turned off"), ("auto", ""), ("require", "")]
)
def test_build_says_whether_it_was_made_in_a_sandbox(
    stranger: Stranger, sandbox: str, noted: str
) -> None:
    with stranger.built(stranger.send(README="x\n"), sandbox) as (build, _trees, spec):
        assert build.no_sandbox == noted
        found = cached_build(stranger.store, spec.key)
        assert found is not None
        assert found.no_sandbox == noted


NOTES = ("build.json", "manifest.json", "no-sandbox")
"""What an entry says of how it came to be."""


def test_what_is_built_is_the_same_with_and_without_a_sandbox(stranger: Stranger) -> None:
    made = []
    for sandbox in ("off", "require"):
        with stranger.built(stranger.send(README="x\n"), sandbox) as (build, _trees, spec):
            files = {
                path.relative_to(build.directory): path.read_bytes()
                for path in sorted(build.directory.rglob("*"))
                if path.is_file() and path.name not in NOTES
            }
            made.append((build.key, files))
            stranger.store.remove("build", spec.key)
    assert made[0] == made[1]


def test_git_and_ccache_run_nothing_that_a_series_has_left(
    stranger: Stranger, victim: Victim
) -> None:
    hook = f"#!/bin/sh\necho alias ls=evil >>{victim.home}/.bashrc\n"
    spoil = (
        "\nallnoconfig: spoil\nspoil:\n"
        "\t-cp hook .git/hooks/post-checkout; chmod 755 .git/hooks/post-checkout\n"
        "\t-git config core.fsmonitor $(CURDIR)/hook; git config core.hooksPath $(CURDIR)\n"
        "\t-mv .git away; mkdir .git\n"
        "\t-echo prefix_command = $(CURDIR)/hook >$(CCACHE_DIR)/ccache.conf\n"
        "\ttouch $(CURDIR)/spoilt\n"
    )
    series = stranger.send(hook=hook, Makefile=MAKEFILE + spoil)
    with stranger.built(series, "require") as (_build, trees, _spec):
        assert (trees.sources / "spoilt").exists()
        assert "hook" not in (trees.sources / ".git/config").read_text()
    with stranger.built(stranger.send(README="x\n"), "off"):
        assert (victim.home / ".bashrc").read_text() == "mine\n"


@pytest.mark.parametrize(
    "made",
    [
        "arch/x86/boot/bzImage",
        "include/config/kernel.release",
        "System.map",
        "vmlinux",
        "harness-modules/own/own.ko",
    ],
)
def test_link_to_a_secret_is_not_followed(stranger: Stranger, victim: Victim, made: str) -> None:
    link = f"\tln -sf {victim.home}/.ssh/id_rsa $(O)/{made}\n"
    spoil = f"\nheaders_install: spoil\nspoil:\n{link}"
    series = stranger.send(Makefile=MAKEFILE + spoil)
    with pytest.raises(HarnessError) as caught, stranger.built(series, "require"):
        pass
    assert isinstance(caught.value, BuildError) or made == "vmlinux"
    for path in stranger.store.root.glob("objects/build/**/*"):
        assert not path.is_file() or b"secret-key" not in path.read_bytes()


def test_configuration_that_is_a_link_is_refused(stranger: Stranger, victim: Victim) -> None:
    other = victim.home / "config"
    other.write_text("CONFIG_OWN=y\n")
    spoil = MAKEFILE.replace("@cp $(KCONFIG_ALLCONFIG)", f"@ln -sf {other}")
    with (
        pytest.raises(BuildError, match="is a link out of the object tree"),
        stranger.built(stranger.send(Makefile=spoil), "require"),
    ):
        pass
    assert not list(stranger.store.root.glob("work/*/obj-own/vmlinux"))


@pytest.mark.parametrize(
    "name",
    ["harness-modules", "harness-selftests", "harness-selftests-objects", "harness-headers"],
)
def test_directory_that_is_a_link_leads_nowhere(
    stranger: Stranger, victim: Victim, name: str
) -> None:
    spoil = f"\nbzImage: spoil\nspoil:\n\trm -rf $(O)/{name}; ln -s {victim.home} $(O)/{name}\n"
    if name == "harness-selftests-objects":
        write(victim.home, {"own/mine": ""})
    before = sorted(victim.home.rglob("*"))
    with (
        contextlib.suppress(HarnessError),
        stranger.built(stranger.send(Makefile=MAKEFILE + spoil), "require"),
    ):
        pass
    assert sorted(victim.home.rglob("*")) == before
