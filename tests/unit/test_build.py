# SPDX-License-Identifier: GPL-2.0-only
"""A build is found again exactly when nothing changed that it depends on."""

from __future__ import annotations

import dataclasses
import json
import subprocess
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from shipped import SUITE

from harness.base import command
from harness.base.arch import AARCH64, X86_64
from harness.base.errors import BuildError, SpecError
from harness.base.progress import Building, Progress
from harness.base.spec import ProfileSpec
from harness.base.store import Store
from harness.base.suite import ModuleSpec, SelftestSpec
from harness.kernel import make
from harness.kernel.build import cached_build
from harness.kernel.build_log import BuildWarning
from harness.kernel.make import BuildSpec, make_argv, make_of, run_make, step_counter
from harness.kernel.source import git
from harness.kernel.toolchain import Toolchain, ccache_of, probe_toolchain
from harness.kernel.worktree import Trees
from harness.results.pace import WHOLE_BUILD_STEPS, StepCounter


def warning() -> BuildWarning:
    return BuildWarning(file="kernel/a.c", line=1, message="bad", option="-Wx")


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
        "commit": "89ef",
        "tree": "0123abcd",
        "arch": X86_64,
        "profile": profile,
        "localversion": "-p07",
        "suite": dataclasses.replace(
            SUITE,
            modules=(ModuleSpec(name="own", source=module),),
            selftests=(SelftestSpec(directory="d", programs=("p",)),),
            headers=("linux/own.h",),
        ),
        "toolchain": Toolchain(compiler="gcc 12", linker="ld 2.40", ccache=True),
    }


def build_key(**inputs: Any) -> str:
    return BuildSpec(**inputs).key


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


@pytest.mark.parametrize(
    "change",
    [
        {"modules": ()},
        {"selftests": ()},
        {"selftests": (SelftestSpec(directory="other", programs=("p",)),)},
        {"selftests": (SelftestSpec(directory="d", programs=("p", "q")),)},
        {"headers": ()},
    ],
)
def test_key_changes_with_what_the_suite_wants_built(
    inputs: dict[str, Any], change: dict[str, Any]
) -> None:
    suite = dataclasses.replace(inputs["suite"], **change)
    assert build_key(**inputs | {"suite": suite}) != build_key(**inputs)


def test_key_changes_with_what_modules_find_defined(inputs: dict[str, Any]) -> None:
    assert build_key(**inputs | {"macros": ("HAVE_X",)}) != build_key(**inputs)


def test_key_changes_with_the_name_of_a_module(inputs: dict[str, Any]) -> None:
    (module,) = inputs["suite"].modules
    renamed = dataclasses.replace(
        inputs["suite"], modules=(dataclasses.replace(module, name="other"),)
    )
    assert build_key(**inputs | {"suite": renamed}) != build_key(**inputs)


def test_key_does_not_change_with_what_the_tests_are(
    inputs: dict[str, Any], tmp_path: Path
) -> None:
    other = dataclasses.replace(
        inputs["suite"], name="other", description="x", tests=tmp_path, mutants=None
    )
    assert build_key(**inputs | {"suite": other}) == build_key(**inputs)


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


def test_key_does_not_change_with_the_commit_of_a_tree(inputs: dict[str, Any]) -> None:
    assert build_key(**inputs | {"commit": "0000"}) == build_key(**inputs)


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
        stored = facts | {"warnings": [asdict(warning())], "seconds": 1.5, "steps": 1294}
        (entry / "build.json").write_text(json.dumps(stored))
    found = cached_build(store, "k")
    assert found is not None
    assert {name: getattr(found, name) for name in facts} == facts
    assert (found.cached, found.warnings, found.seconds) == (True, (warning(),), 1.5)
    assert found.image == found.directory / "kernel"


TREES = Trees(sources=Path("/trees/src"), objects=Path("/trees/obj"))


def argv(
    inputs: dict[str, Any], *, ccache: bool = False, cc: str = "gcc", jobs: int | None = 3
) -> list[str]:
    spec = BuildSpec(**inputs | {"toolchain": dataclasses.replace(inputs["toolchain"], cc=cc)})
    variables = {"CCACHE_DIR": "/c"} if ccache else None
    return [str(word) for word in make_argv(spec, TREES, variables, jobs=jobs)]


def test_make_argv_is_reproducible(inputs: dict[str, Any]) -> None:
    words = {"KBUILD_BUILD_TIMESTAMP=@0", "KBUILD_BUILD_USER=harness", "ARCH=x86"}
    assert words <= set(argv(inputs))


@pytest.mark.parametrize(
    ("ccache", "words"),
    [
        (True, {"env", "CCACHE_DIR=/c", "CCACHE_BASEDIR=/trees", "CC=ccache gcc"}),
        (False, {"CC=gcc"}),
    ],
)
def test_make_argv_uses_ccache_if_there_is_one(
    inputs: dict[str, Any], ccache: bool, words: set[str]
) -> None:
    said = argv(inputs, ccache=ccache)
    assert words <= set(said)
    assert said[0] == ("env" if ccache else "make")


@pytest.mark.parametrize(("jobs", "word"), [(3, "-j3"), (None, "-j5")])
def test_make_argv_has_a_compiler_for_each_cpu_that_may_be_used(
    inputs: dict[str, Any], monkeypatch: pytest.MonkeyPatch, jobs: int | None, word: str
) -> None:
    monkeypatch.setattr("harness.kernel.make.usable_cpus", lambda: 5)
    assert word in argv(inputs, jobs=jobs)


@pytest.mark.parametrize(("ccache", "word"), [(True, "CC=ccache gcc-14"), (False, "CC=gcc-14")])
def test_make_argv_names_the_compiler(inputs: dict[str, Any], ccache: bool, word: str) -> None:
    assert word in argv(inputs, ccache=ccache, cc="gcc-14")


def test_make_argv_of_another_architecture_names_its_tools(inputs: dict[str, Any]) -> None:
    toolchain = dataclasses.replace(
        inputs["toolchain"], cc="aarch64-linux-gnu-gcc", prefix="aarch64-linux-gnu-"
    )
    said = argv(inputs | {"arch": AARCH64, "toolchain": toolchain}, cc=toolchain.cc)
    wanted = {"ARCH=arm64", "CROSS_COMPILE=aarch64-linux-gnu-", "CC=aarch64-linux-gnu-gcc"}
    assert wanted <= set(said)
    assert not [word for word in argv(inputs) if word.startswith("CROSS_COMPILE")]


def test_host_without_a_cross_compiler_is_told_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SpecError, match="there is no aarch64-linux-gnu-gcc") as caught:
        probe_toolchain("gcc", AARCH64)
    assert "'scripts/setup --arch aarch64'" in (caught.value.hint or "")


def test_toolchain_is_that_of_the_compiler_that_was_asked_for(tmp_path: Path) -> None:
    cc = tmp_path / "gcc-99"
    cc.write_text("#!/bin/sh\n[ $1 = -dumpmachine ] && echo x86_64 || echo gcc 99.1; echo more\n")
    cc.chmod(0o755)
    found = probe_toolchain(str(cc))
    assert (found.cc, found.compiler) == (str(cc), "gcc 99.1")
    assert found.linker == probe_toolchain().linker


@pytest.mark.parametrize(
    ("cc", "said", "hint"),
    [
        ("gcc-99", "there is no compiler 'gcc-99' here", "install the package gcc-99"),
        ("nope", "there is no compiler 'nope' here", "install the package that has it, such as"),
        ("true", "'true' is no compiler", "such as gcc-14"),
    ],
)
def test_compiler_that_is_none_is_refused(cc: str, said: str, hint: str) -> None:
    with pytest.raises(SpecError, match=said) as caught:
        probe_toolchain(cc)
    assert hint in (caught.value.hint or "")


# -- how far a build is ------------------------------------------------------------------------

MAKEFILE = """\
all:
\t@for n in 1 2 3; do echo "  CC      kernel/$$n.o"; done
\t@test ! -e {objects}/broken
\t@echo "  LD      vmlinux"
\t@touch {objects}/vmlinux
"""


def make_kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[StepCounter, list[str]]:
    """Run a make that passes for a kernel's; return what counted, and what was said."""
    objects = tmp_path / "obj"
    objects.mkdir(exist_ok=True)
    (tmp_path / "Makefile").write_text(MAKEFILE.format(objects=objects))
    monkeypatch.setattr(make, "_SHOW_S", 0.0)
    trees = Trees(sources=tmp_path, objects=objects)
    stage = Building(commit="c", profile="p", localversion="-p00")
    counter = step_counter(trees, stage, Store(tmp_path / "cache"))
    said: list[Progress] = []
    run_make(["make", "-C", tmp_path, "all"], trees, counter, progress=said.append)
    return counter, [str(each) for each in said]


def test_first_build_of_an_object_tree_says_how_many_steps_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counter, said = make_kernel(tmp_path, monkeypatch)
    assert (counter.whole, counter.steps) == (True, 4)
    assert f"building c (p-p00): 3 of about {WHOLE_BUILD_STEPS:,} steps, now CC kernel/3.o" in said


def test_later_build_of_an_object_tree_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_kernel(tmp_path, monkeypatch)
    counter, said = make_kernel(tmp_path, monkeypatch)
    assert (counter.whole, counter.steps) == (False, 4)
    assert "building c (p-p00): 3 steps, now CC kernel/3.o" in said


def test_first_build_that_did_not_end_goes_on_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "obj").mkdir()
    (tmp_path / "obj" / "broken").touch()
    with pytest.raises(BuildError):
        make_kernel(tmp_path, monkeypatch)
    (tmp_path / "obj" / "broken").unlink()
    counter, said = make_kernel(tmp_path, monkeypatch)
    assert (counter.whole, counter.steps) == (True, 3 + 4)
    assert any(f"6 of about {WHOLE_BUILD_STEPS:,} steps" in text for text in said)


# -- the compiler cache ----------------------------------------------------------------------


def ccache(
    store: Store, inputs: dict[str, Any], monkeypatch: pytest.MonkeyPatch, **variables: str
) -> Mapping[str, str] | None:
    for name in ("CCACHE_DIR", "CCACHE_MAXSIZE", "CCACHE_UMASK", "HARNESS_ROOM"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return ccache_of(inputs["toolchain"], store)


def test_compiler_cache_of_ours_keeps_to_its_part_of_the_room(
    store: Store, inputs: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = {"CCACHE_DIR": str(store.ccache), "CCACHE_MAXSIZE": "2048Mi"}
    assert ccache(store, inputs, monkeypatch, HARNESS_ROOM="8") == ours


def test_compiler_cache_of_the_user_keeps_its_size(
    store: Store, inputs: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = {"CCACHE_DIR": str(tmp_path / "own")}
    assert ccache(store, inputs, monkeypatch, **theirs) == theirs
    said = ccache(store, inputs, monkeypatch, CCACHE_MAXSIZE="1G")
    assert said == {"CCACHE_DIR": str(store.ccache)}


@pytest.mark.parametrize(
    ("configuration", "why"),
    [("umask = 0999\n", "invalid unsigned octal"), ("max_size = much\n", "much")],
)
def test_compiler_cache_with_a_wrong_configuration_is_not_used(
    store: Store,
    inputs: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    configuration: str,
    why: str,
) -> None:
    store.ccache.mkdir()
    (store.ccache / "ccache.conf").write_text(configuration)
    assert ccache(store, inputs, monkeypatch) is None
    assert "ccache is not used, builds take longer: " in caplog.text
    assert why in caplog.text


def test_compiler_cache_that_cannot_be_written_is_not_used(
    store: Store,
    inputs: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    # Neither root nor anybody else makes files there.
    assert ccache(store, inputs, monkeypatch, CCACHE_DIR="/proc/ccache") is None
    assert "ccache is not used, builds take longer: ccache: error: " in caplog.text


def test_compiler_cache_that_is_not_installed_is_not_asked(
    store: Store, inputs: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    assert ccache_of(dataclasses.replace(inputs["toolchain"], ccache=False), store) is None
    assert caplog.text == ""


def test_compiler_cache_s_remote_storage_is_used_without_a_sandbox(
    store: Store, inputs: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if command.which("ccache") is None:
        pytest.skip("ccache is not installed")
    remote, trees = tmp_path / "remote", Trees(sources=tmp_path / "src", objects=tmp_path / "obj")
    trees.sources.mkdir()
    git(trees.sources, "init", "-q")
    (trees.sources / "Makefile").write_text("all:\n\t$(CC) -c one.c -o one.o\n")
    (trees.sources / "one.c").write_text("int one;\n")
    monkeypatch.delenv("CCACHE_DIR", raising=False)
    monkeypatch.setenv("CCACHE_REMOTE_STORAGE", f"file://{remote}")
    toolchain = dataclasses.replace(inputs["toolchain"], ccache=True)
    spec = BuildSpec(**inputs | {"toolchain": toolchain, "sandbox": "off"})
    words, sandbox = make_of(spec, trees, store, jobs=1)
    before = sorted(remote.rglob("*"))  # of the probe
    sandbox.run([*words, "all"], timeout_s=60)
    assert sorted(remote.rglob("*")) != before


# -- what goes past the compiler cache -------------------------------------------------------


@pytest.fixture
def prefix(inputs: dict[str, Any], tmp_path: Path) -> list[str]:
    """Return what a build has before make: the variables of ccache, with an empty cache."""
    words = make_argv(BuildSpec(**inputs), TREES, {"CCACHE_DIR": str(tmp_path / "cache")}, jobs=1)
    return [str(word) for word in words[: words.index("make")]]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("piggy.S", '.section .rodata\n.incbin "image.bin"\n'),
        ("configs.c", 'asm(".section .rodata\\n" ".incbin \\"image.bin\\"\\n");\n'),
    ],
)
def test_what_takes_in_a_file_as_it_is_is_compiled_anew(
    prefix: list[str], tmp_path: Path, name: str, text: str
) -> None:
    """The source stays, as piggy.S does when two kernels are compressed to the same size."""
    source, image = tmp_path / name, tmp_path / "image.bin"
    source.write_text(text)
    for content in (b"the first kernel", b"another kernel 2"):
        image.write_bytes(content)
        compile_ = ["ccache", "gcc", "-Wp,-MMD,deps.d", "-c", "-o", "out.o", name]
        subprocess.run([*prefix, *compile_], cwd=tmp_path, check=True)
        assert content in (tmp_path / "out.o").read_bytes()


def test_what_takes_in_no_file_comes_from_the_cache(prefix: list[str], tmp_path: Path) -> None:
    (tmp_path / "plain.c").write_text("int plain;\n")
    for _ in range(2):
        compile_ = ["ccache", "gcc", "-Wp,-MMD,deps.d", "-c", "-o", "out.o", "plain.c"]
        subprocess.run([*prefix, *compile_], cwd=tmp_path, check=True)
    stats = subprocess.run(
        [*prefix, "ccache", "--print-stats"], check=True, capture_output=True, text=True
    ).stdout
    assert "direct_cache_hit\t1\n" in stats


def test_what_comes_on_the_input_reaches_the_compiler(prefix: list[str]) -> None:
    done = subprocess.run(
        [*prefix, "ccache", "gcc", "-E", "-P", "-x", "c", "-"],
        input="GCC __GNUC__\n.incbin\n",
        check=True,
        capture_output=True,
        text=True,
    )
    assert done.stdout.startswith("GCC 1")
