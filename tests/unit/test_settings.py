# SPDX-License-Identifier: GPL-2.0-only
"""Settings become a target and positions, and what makes no sense is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from shipped import SERIES, SUITE

from harness.base.errors import SpecError
from harness.base.settings import parse_positions, positions_text, settings_of, target_from_settings
from harness.base.spec import KernelSpec, Target, load_kernels


def target(**settings: str) -> Target:
    return target_from_settings(settings.get)


def test_no_settings_is_the_shipped_series_on_its_kernel() -> None:
    found = target()
    assert found.kernel == KernelSpec(package=load_kernels()["7.0.13"])
    assert (found.series, found.position) == (str(SERIES), None)
    assert (found.profile, found.accel, found.jobs) == ("default", "auto", None)


def test_kernel_is_an_absolute_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert target(kernel="linux").kernel == KernelSpec(path=tmp_path / "linux")


def test_kernel_in_the_home_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert target(kernel="~/linux").kernel.path == tmp_path / "linux"


def test_kernel_by_its_name() -> None:
    assert target(kernel="7.0.13").kernel == KernelSpec(package=load_kernels()["7.0.13"])


def test_tree_that_is_there_goes_before_a_kernel_of_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "7.0.13").mkdir()
    monkeypatch.chdir(tmp_path)
    assert target(kernel="7.0.13").kernel == KernelSpec(path=tmp_path / "7.0.13")


def test_base_goes_with_kernel() -> None:
    assert target(kernel="/linux", base="v7.0").kernel.base == "v7.0"


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


def test_unknown_accel_names_the_known_ones() -> None:
    with pytest.raises(SpecError, match="no accelerator 'hvf'") as caught:
        target(accel="hvf")
    assert caught.value.hint == "known: auto, kvm, tcg"


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


def test_no_qemu_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HARNESS_QEMU", raising=False)
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


def test_qemu_from_the_environment_unless_another_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARNESS_QEMU", str(program(tmp_path / "environment")))
    assert target().qemu == tmp_path / "environment"
    assert target(qemu=str(program(tmp_path / "given"))).qemu == tmp_path / "given"


@pytest.mark.parametrize("name", ["absent", "plain-file"])
def test_qemu_that_cannot_be_run_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "plain-file").touch()
    with pytest.raises(SpecError, match=f"no program .*{name}") as caught:
        target(qemu=str(tmp_path / name))
    assert "--qemu" in (caught.value.hint or "")


def test_extra_is_a_list_of_files() -> None:
    assert target(extra="a.patch:/b.patch").extra == (Path("a.patch"), Path("/b.patch"))


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
