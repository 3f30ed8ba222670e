# SPDX-License-Identifier: GPL-2.0-only
"""Settings become a target and positions, and what makes no sense is refused."""

from __future__ import annotations

import argparse
import os
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from shipped import SERIES, SUITE

from harness.base.errors import SpecError
from harness.base.positions import parse_positions, positions_text
from harness.base.settings import (
    SETTING,
    SETTINGS,
    Setting,
    settings_of,
    target_from_settings,
)
from harness.base.spec import KernelSpec, Target, load_kernels
from harness.base.suite import load_suite
from harness.base.variables import VARIABLES
from harness.cli.main import _parser
from harness.cli.options import profiles_of, take_settings

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for one in SETTINGS:
        monkeypatch.delenv(one.variable, raising=False)


def target(**settings: str) -> Target:
    return target_from_settings(settings.get)


def test_no_settings_is_the_shipped_series_on_its_kernel() -> None:
    found = target()
    assert found.kernel == load_kernels()["7.0.13"]
    assert (found.series, found.position) == (str(SERIES), None)
    assert (found.profile, found.accel, found.jobs) == ("default", "auto", None)


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_architecture_without_a_word_is_the_hosts(
    monkeypatch: pytest.MonkeyPatch, machine: str
) -> None:
    monkeypatch.setattr("platform.machine", lambda: machine)
    assert target().arch == machine


def test_architecture_is_what_was_asked_for() -> None:
    for name in ("x86_64", "aarch64"):
        found = target(arch=name)
        assert found.arch == name
        assert target(**settings_of(found)) == found


def test_architecture_of_the_suite_weighs_less_than_what_was_asked_for(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "examples" / "get-options", tmp_path / "suite")
    file = tmp_path / "suite" / "suite.yaml"
    text = file.read_text()
    for name, other in (("aarch64", "x86_64"), ("x86_64", "aarch64")):
        load_suite.cache_clear()
        file.write_text(f"{text}arch: {name}\n")
        assert target(suite=str(file.parent)).arch == name
        assert target(suite=str(file.parent), arch=other).arch == other


def test_unknown_architecture_of_a_suite_names_its_line(tmp_path: Path) -> None:
    file = tmp_path / "suite.yaml"
    file.write_text("name: a\narch: arm\ntests: .\n")
    with pytest.raises(SpecError, match=r"suite\.yaml:2: architecture 'arm' is not supported"):
        target(suite=str(tmp_path))


def test_profile_may_name_its_architecture() -> None:
    for name, other in (("aarch64", "x86_64"), ("x86_64", "aarch64")):
        found = target(profile=f"debug@{name}", arch=other)
        assert (found.profile, found.arch) == ("debug", name)
        assert target(**settings_of(found)) == found
    with pytest.raises(SpecError, match="architecture 'arm' is not supported"):
        target(profile="debug@arm")


def test_unknown_architecture_is_refused() -> None:
    with pytest.raises(SpecError, match="arch is aarch64 or x86_64, not 'arm64'"):
        target(arch="arm64")


def test_kernel_is_an_absolute_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert target(kernel="linux").kernel == KernelSpec(path=tmp_path / "linux")


def test_kernel_in_the_home_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert target(kernel="~/linux").kernel.path == tmp_path / "linux"


def test_kernel_by_its_name() -> None:
    assert target(kernel="7.0.13").kernel == load_kernels()["7.0.13"]


def test_tree_that_is_there_goes_before_a_kernel_of_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "7.0.13").mkdir()
    monkeypatch.chdir(tmp_path)
    assert target(kernel="7.0.13").kernel == KernelSpec(path=tmp_path / "7.0.13")


def test_base_goes_with_kernel() -> None:
    assert target(kernel="/linux", base="v7.0").kernel.base == "v7.0"


def test_base_of_a_branch_is_another_revision_of_its_repository() -> None:
    found = target(kernel="next", base="next-1")
    assert found.kernel == replace(load_kernels()["next"], base="next-1")
    assert settings_of(found)["kernel"] == "next"
    assert target(**settings_of(found)) == found


def test_base_of_a_package_is_refused() -> None:
    with pytest.raises(SpecError, match=r"7\.0\.13 is a package: it has no revisions"):
        target(kernel="7.0.13", base="v7.0")


def test_base_without_kernel_is_refused() -> None:
    with pytest.raises(SpecError, match="--base goes with --kernel"):
        target(base="v7.0")


def test_series_none_is_the_tree_as_it_is() -> None:
    assert target(series="none").series is None


# -- the suite has the word where nothing was said -------------------------------------------


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    """A suite with a kernel and a series of its own."""
    (tmp_path / "own" / "tests").mkdir(parents=True)
    (tmp_path / "own" / "v1.mbx").touch()
    (tmp_path / "own" / "suite.yaml").write_text(
        "name: own\ntests: tests\nkernel: ../linux\nseries: v1.mbx\n"
    )
    return tmp_path / "own"


def test_shipped_suite_is_meant_where_none_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert target().suite == SUITE.root


def test_suite_names_kernel_and_series(suite: Path) -> None:
    found = target(suite=str(suite))
    assert found.suite == suite
    assert found.kernel == KernelSpec(path=suite.parent / "linux")
    assert found.series == str(suite / "v1.mbx")


def test_what_is_said_goes_before_the_suite(suite: Path) -> None:
    found = target(suite=str(suite), kernel="/linux", series="none", base="v7.0")
    assert (found.kernel, found.series) == (KernelSpec(path=Path("/linux"), base="v7.0"), None)


def test_suite_without_kernel_and_series(suite: Path) -> None:
    (suite / "suite.yaml").write_text("name: own\ntests: tests\n")
    with pytest.raises(SpecError, match=r"suite\.yaml names no kernel") as caught:
        target(suite=str(suite))
    assert "--kernel" in (caught.value.hint or "")
    assert target(suite=str(suite), kernel="/linux").series is None


def test_settings_of_a_target_name_its_suite(
    suite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = target(suite=str(suite))
    monkeypatch.chdir(suite)
    assert target() == made
    settings = settings_of(made)
    monkeypatch.chdir(tmp_path)
    assert target(**settings) == made


@pytest.mark.parametrize(("text", "position"), [("0", 0), ("7", 7), ("07", 7), ("last", None)])
def test_position(text: str, position: int | None) -> None:
    assert target(position=text).position == position


@pytest.mark.parametrize("name", ["position", "jobs"])
@pytest.mark.parametrize("text", ["-1", "1.5", "seven", "", " ", "0x7", "²"])
def test_number_that_is_none_is_refused(name: str, text: str) -> None:
    with pytest.raises(SpecError, match=f"{name} must be a whole number"):
        target(**{name: text})


def test_jobs_of_none_at_all_is_refused() -> None:
    with pytest.raises(SpecError, match="jobs"):
        target(jobs="0")


def test_jobs_last_is_refused() -> None:
    with pytest.raises(SpecError, match="jobs"):
        target(jobs="last")


@pytest.mark.parametrize("accel", ["auto", "kvm", "tcg"])
def test_accel(accel: str) -> None:
    assert target(accel=accel).accel == accel


def test_unknown_accel_names_the_known_ones_and_where_it_is_set() -> None:
    with pytest.raises(SpecError, match="accel is auto or kvm or tcg, not 'hvf'") as caught:
        target(accel="hvf")
    assert "--accel, --harness-accel, HARNESS_ACCEL" in (caught.value.hint or "")


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"series": "none", "kernel": "/linux", "base": "v7.0", "accel": "tcg", "jobs": "3"},
        {"position": "0", "profile": "debug", "extra": "/a.patch:/b.patch"},
        {"cc": "/opt/bin/gcc-14"},
    ],
)
def test_settings_of_a_target_make_the_same_target(settings: dict[str, str]) -> None:
    made = target(**settings)
    assert target(**settings_of(made)) == made


@pytest.mark.parametrize(
    ("given", "variable", "cc"),
    [(None, None, "gcc"), (None, "gcc-13", "gcc-13"), ("gcc-14", "gcc-13", "gcc-14")],
    ids=["neither", "environment", "both"],
)
def test_compiler_is_that_of_the_setting_or_the_environment(
    given: str | None, variable: str | None, cc: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CC", variable or "")
    assert target(**({"cc": given} if given else {})).cc == cc


def test_compiler_is_found_from_everywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert target(cc="bin/gcc").cc == str(tmp_path / "bin/gcc")


def test_compiler_with_ccache_before_it_is_refused() -> None:
    with pytest.raises(SpecError, match="one program, not 'ccache gcc'"):
        target(cc="ccache gcc")


def program(path: Path) -> Path:
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


def test_no_qemu_is_asked_for() -> None:
    assert target().qemu is None


@pytest.mark.parametrize("text", ["./qemu", "{}/qemu", "~/qemu", "qemu"])
def test_qemu_is_a_path_or_a_program_on_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    program(tmp_path / "qemu")
    made = target(qemu=text.format(tmp_path))
    assert made.qemu == tmp_path / "qemu"
    assert target(**settings_of(made)) == made


@pytest.mark.parametrize("name", ["absent", "plain-file"])
def test_qemu_that_cannot_be_run_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "plain-file").touch()
    with pytest.raises(SpecError, match=f"no program .*{name}") as caught:
        target(qemu=str(tmp_path / name))
    assert "--qemu" in (caught.value.hint or "")


def test_extra_is_a_list_of_files() -> None:
    assert target(extra="a.patch:/b.patch").extra == (Path("a.patch"), Path("/b.patch"))


# -- the table -------------------------------------------------------------------------------


def taken(*words: str) -> argparse.Namespace:
    """Return what a command of the command line is told by *words*."""
    args = _parser().parse_args(words)
    take_settings(args)
    return args


each = pytest.mark.parametrize("one", SETTINGS, ids=lambda one: one.name)


def sample(one: Setting) -> str:
    """Return a value that is not the default, and that a flag can give."""
    return next((value for value in one.choices if one.words(value) and value != one.default), "x")


@each
def test_setting_on_the_command_line(one: Setting) -> None:
    assert getattr(taken("run", *one.words(sample(one))), one.name) == sample(one)


@each
def test_setting_in_the_environment(one: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(one.variable, sample(one))
    assert getattr(taken("run"), one.name) == sample(one)


@each
def test_setting_that_is_nowhere_has_its_default(
    one: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(one.variable, "")
    assert getattr(taken("run"), one.name) == one.default


@each
def test_command_line_goes_before_environment(
    one: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(one.variable, one.choices[0] if one.choices else "environment")
    assert getattr(taken("run", *one.words(sample(one))), one.name) == sample(one)


@each
def test_setting_goes_before_ini_and_that_before_the_default(
    one: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert one.value(None, sample(one)) == sample(one)
    monkeypatch.setenv(one.variable, one.choices[0] if one.choices else "environment")
    assert one.value(None, sample(one)) == os.environ[one.variable]


@pytest.mark.parametrize("one", [one for one in SETTINGS if one.choices], ids=lambda one: one.name)
def test_value_that_is_no_choice_is_refused_from_the_environment(
    one: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(one.variable, "maybe")
    with pytest.raises(SpecError, match=f"{one.name} is .*, not 'maybe'") as caught:
        taken("run")
    assert one.variable in (caught.value.hint or "")


def commands() -> dict[str, argparse.ArgumentParser]:
    (found,) = _parser()._subparsers._group_actions  # type: ignore[union-attr]
    return dict(found.choices)  # type: ignore[arg-type]


@pytest.mark.parametrize("command", commands())
def test_option_of_a_command_says_its_variable(command: str) -> None:
    """One that is called like a setting is that setting, or says nothing about a variable."""
    options = {one.option: one for one in SETTINGS}
    for action in commands()[command]._actions:
        found = [options[word] for word in action.option_strings if word in options]
        said = re.findall(r"HARNESS_[A-Z]+", action.help or "")
        if action.dest in SETTING:
            assert [one.name for one in found] == [action.dest]
        assert said == [one.variable for one in found if action.dest in (one.name, "profiles")]


def test_profile_of_the_environment_is_the_only_one_of_a_matrix(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert profiles_of(taken("matrix"), ("a", "b")) == ["a", "b"]
    monkeypatch.setenv("HARNESS_PROFILE", "debug")
    assert profiles_of(taken("matrix"), ("a", "b")) == ["debug"]
    assert profiles_of(taken("matrix", "--profile=c", "--profile=c"), ("a", "b")) == ["c"]


@pytest.mark.parametrize("command", ["doctor", "plan", "nightly", "matrix", "boot", "bisect"])
def test_command_that_starts_machines_takes_another_qemu(
    command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    needed = {"plan": ("--format=github",), "bisect": ("--test=x",)}.get(command, ())
    assert taken(command, *needed, "--qemu", "own-qemu").qemu == "own-qemu"
    monkeypatch.setenv("HARNESS_QEMU", "other-qemu")
    assert taken(command, *needed).qemu == "other-qemu"


def test_new_suite_says_nothing_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_SERIES", "v4.mbx")
    args = taken("init", "mysuite", "--kernel", "/linux")
    assert (args.own_kernel, args.own_series) == ("/linux", None)


@pytest.mark.parametrize("name", [variable.name for variable in VARIABLES])
def test_variable_in_the_list_is_one_that_something_reads(name: str) -> None:
    sources = [path for kind in ("py", "c") for path in (ROOT / "harness").rglob(f"*.{kind}")]
    texts = [path.read_text() for path in sources if path.name != "variables.py"]
    assert any(f'"{name}"' in text for text in texts)


# -- positions -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (None, (0, 1, 2, 3, 4, 5)),
        ("3", (3,)),
        ("0..2", (0, 1, 2)),
        ("5, 0,1..2", (0, 1, 2, 5)),
        ("2,2..3", (2, 3)),
    ],
)
def test_parse_positions(text: str | None, found: tuple[int, ...]) -> None:
    assert parse_positions(text, 5) == found


@pytest.mark.parametrize("text", ["", "x", "1..", "..2", "-1", "1.5", "1;2", "²"])
def test_parse_positions_refuses_what_is_none(text: str) -> None:
    with pytest.raises(SpecError, match="is no position"):
        parse_positions(text, 5)


@pytest.mark.parametrize("text", ["6", "4..6", "3..2"])
def test_parse_positions_refuses_what_there_is_not(text: str) -> None:
    with pytest.raises(SpecError, match="there are no positions") as caught:
        parse_positions(text, 5)
    assert "to 5 (all)" in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("positions", "text"),
    [((0,), "0"), ((0, 1, 2, 3), "0..3"), ((9, 0, 10, 5), "0,5,9..10"), ((), "")],
)
def test_positions_are_written_as_they_are_read(positions: tuple[int, ...], text: str) -> None:
    assert positions_text(positions) == text
    if positions:
        assert parse_positions(text, 11) == tuple(sorted(positions))
