# SPDX-License-Identifier: GPL-2.0-only
"""Settings become a target, and what makes no sense is refused before anything is done."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.apply import AppliedSeries, Position
from harness.errors import HarnessError, SpecError
from harness.pipeline import Pipeline, settings_of, target_from_settings
from harness.series import read_series
from harness.source import SourceTree, git
from harness.spec import DEBIAN_LINUX_7_0, DEFAULT_SERIES, KernelSpec, Target
from harness.store import Store


def target(**settings: str) -> Target:
    return target_from_settings(settings.get)


def test_no_settings_is_the_shipped_series_on_its_kernel() -> None:
    found = target()
    assert found.kernel == KernelSpec(package=DEBIAN_LINUX_7_0)
    assert (found.series, found.position) == (str(DEFAULT_SERIES), None)
    assert (found.profile, found.accel, found.jobs) == ("default", "auto", None)


def test_kernel_is_an_absolute_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert target(kernel="linux").kernel == KernelSpec(path=tmp_path / "linux")


def test_kernel_in_the_home_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert target(kernel="~/linux").kernel.path == tmp_path / "linux"


def test_base_goes_with_kernel() -> None:
    assert target(kernel="/linux", base="v7.0").kernel.base == "v7.0"


def test_base_without_kernel_is_refused() -> None:
    with pytest.raises(SpecError, match="--base goes with --kernel"):
        target(base="v7.0")


def test_series_none_is_the_tree_as_it_is() -> None:
    assert target(series="none").series is None


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
    ],
)
def test_settings_of_a_target_make_the_same_target(settings: dict[str, str]) -> None:
    made = target(**settings)
    assert target(**settings_of(made)) == made


def test_extra_is_a_list_of_files() -> None:
    assert target(extra="a.patch:/b.patch").extra == (Path("a.patch"), Path("/b.patch"))


def test_pipeline_does_nothing_before_it_is_asked(tmp_path: Path) -> None:
    said: list[str] = []
    Pipeline(target(kernel="/absent", series="absent"), Store(tmp_path), said.append)
    assert said == []


def test_series_is_read_before_the_tree(tmp_path: Path) -> None:
    pipeline = Pipeline(
        target(kernel="/absent", series="absent.mbx"), Store(tmp_path), lambda text: None
    )
    with pytest.raises(HarnessError, match="no series"):
        pipeline.position()


# -- which patches the kernel under test has -------------------------------------------------

SHIPPED = {patch.number: patch.subject for patch in read_series(str(DEFAULT_SERIES)).patches}


def pipeline_at(
    tmp_path: Path, position: int, subjects: list[str], upstream: list[str] | None = None
) -> Pipeline:
    """Return a pipeline whose tree has the commits *upstream*, and a series of *subjects*."""
    repo = tmp_path / "linux"
    (repo / "kernel" / "liveupdate").mkdir(parents=True)
    git(tmp_path, "init", "-q", repo)
    for number, subject in enumerate(["base", *(upstream or [])]):
        (repo / "kernel" / "liveupdate" / "luo.c").write_text(f"{number}\n")
        git(repo, "add", ".")
        identity = ("-c", "user.name=A", "-c", "user.email=a@example.com")
        git(repo, *identity, "commit", "-q", "-m", subject)
    base = git(repo, "rev-parse", "HEAD").stdout.strip()
    made = Pipeline(target(position=str(position)), Store(tmp_path / "cache"), lambda _text: None)
    source = SourceTree(repo=repo, base=base, tree="", version="7.0", label="", lock="")
    positions = tuple(
        Position(number=number, subject=subject, commit=base, tree="")
        for number, subject in enumerate(["base", *subjects])
    )
    applied = AppliedSeries(source=source, series=None, support=(), positions=positions)
    vars(made).update(source=source, applied=applied)
    return made


@pytest.mark.parametrize(
    ("position", "number", "has"), [(0, 1, False), (5, 5, True), (5, 6, False)]
)
def test_has_patch_of_the_shipped_series(
    tmp_path: Path, position: int, number: int, has: bool
) -> None:
    assert pipeline_at(tmp_path, position, list(SHIPPED.values())).has_patch(number) is has


def test_has_patch_is_known_by_its_subject_in_a_re_roll(tmp_path: Path) -> None:
    made = pipeline_at(tmp_path, 2, ["mm: new in v5", SHIPPED[7], SHIPPED[1]])
    assert made.has_patch(7)
    assert not made.has_patch(1)


def test_has_patch_that_the_tree_has_already(tmp_path: Path) -> None:
    made = pipeline_at(tmp_path, 0, ["mm: other"], upstream=[SHIPPED[3]])
    assert made.has_patch(3)
    assert not made.has_patch(4)


def test_has_patch_of_an_unknown_number_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="no patch 99"):
        pipeline_at(tmp_path, 0, []).has_patch(99)
