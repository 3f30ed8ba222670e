# SPDX-License-Identifier: GPL-2.0-only
"""Stages are done when they are asked for, and know which patches the kernel under test has."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from patches import diff, mail, mbox
from shipped import SERIES

from harness.base.errors import BuildError, DownloadError, HarnessError, SpecError
from harness.base.settings import target_from_settings
from harness.base.spec import Target
from harness.base.store import Store
from harness.kernel.apply import AppliedSeries, Position
from harness.kernel.build import KernelBuild
from harness.kernel.recognise import By
from harness.kernel.series import read_series
from harness.kernel.source import SourceTree, git
from harness.run.pipeline import Pipeline


def target(**settings: str) -> Target:
    return target_from_settings(settings.get)


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

UAPI = Path(__file__).resolve().parents[1] / "data" / "uapi"
SHIPPED = {patch.number: patch.subject for patch in read_series(str(SERIES)).patches}


def pipeline_at(
    tmp_path: Path,
    position: int,
    subjects: list[str],
    upstream: list[str] | None = None,
    **settings: str,
) -> Pipeline:
    """Return a pipeline whose tree has the commits *upstream*, and a series of *subjects*.

    The patches of the series change nothing but mm/.
    """
    repo = tmp_path / "linux"
    files = [repo / "kernel/liveupdate/luo_file.c", repo / "kernel/a.c"]
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
    git(tmp_path, "init", "-q", repo)
    for number, subject in enumerate(["base", *(upstream or [])]):
        for file in files:
            file.write_text(f"{number}\n")
        git(repo, "add", ".")
        identity = ("-c", "user.name=A", "-c", "user.email=a@example.com")
        git(repo, *identity, "commit", "-q", "-m", subject)
    base = git(repo, "rev-parse", "HEAD").stdout.strip()
    made = Pipeline(
        target(position=str(position), **settings), Store(tmp_path / "cache"), lambda _text: None
    )
    source = SourceTree(
        repo=repo, base=base, tree="", version="7.0", label="", public=False, lock=""
    )
    positions = tuple(
        Position(number=number, subject=subject, commit=base, tree="")
        for number, subject in enumerate(["base", *subjects])
    )
    total = len(subjects)
    mails = [
        mail(f"[PATCH {number}/{total}] {subject}", diff("mm/a.c", new=f"{number} of the series"))
        for number, subject in enumerate(subjects, 1)
    ]
    series = read_series(mbox(tmp_path / "tested.mbx", *mails)) if mails else None
    applied = AppliedSeries(source=source, series=series, support=(), positions=positions)
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
    assert made.has_patch(SHIPPED[7])
    assert not made.has_patch(SHIPPED[1])


def test_has_patch_that_the_tree_has_already(tmp_path: Path) -> None:
    made = pipeline_at(tmp_path, 0, ["mm: other"], upstream=[SHIPPED[3]])
    assert made.has_patch(3)
    assert not made.has_patch(4)
    assert made.has_patch(SHIPPED[3])
    assert not made.has_patch(SHIPPED[4])


def test_has_patch_whose_subject_was_changed_on_merge(tmp_path: Path) -> None:
    merged = SHIPPED[3].lower().replace(" ", "  ") + "."
    made = pipeline_at(tmp_path, 0, ["mm: other"], upstream=[merged])
    assert made.has_patch(3)
    assert made.has_patch(SHIPPED[3].upper())
    assert not made.has_patch(4)
    presence = made.presences[3]
    assert presence.found is not None
    assert (presence.found.by, presence.found.subject) == (By.SUBJECT, merged)


def test_has_patch_whose_subject_was_changed_in_a_re_roll(tmp_path: Path) -> None:
    made = pipeline_at(tmp_path, 1, [SHIPPED[7].lower(), SHIPPED[1].lower()])
    assert made.has_patch(7)
    assert not made.has_patch(1)


def test_has_patch_of_an_unknown_number_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="no patch 99"):
        pipeline_at(tmp_path, 0, []).has_patch(99)


# -- what is done while a kernel builds -------------------------------------------------------


def test_image_and_keys_are_seen_to_while_the_kernel_builds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = pipeline_at(tmp_path, 0, [])
    fetched = threading.Event()
    monkeypatch.setattr("harness.run.meanwhile.fetch_packages", lambda *_, **__: fetched.set())

    def build(*_: object, **__: object) -> None:
        assert fetched.wait(20)
        assert (made.store.root / "keys" / "client").exists()
        raise BuildError("it does not compile")

    monkeypatch.setattr("harness.run.pipeline.build_kernel", build)
    with pytest.raises(BuildError, match="it does not compile"):
        made.build()


def test_packages_that_cannot_be_had_are_an_error_where_they_are_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = pipeline_at(tmp_path, 0, [])
    tried: list[int] = []

    def fetch(*_: object, **__: object) -> None:
        tried.append(1)
        raise DownloadError("cannot fetch the package x")

    monkeypatch.setattr("harness.run.meanwhile.fetch_packages", fetch)
    monkeypatch.setattr("harness.guest.image.fetch_packages", fetch)
    kernel = KernelBuild(
        directory=UAPI.parent,
        arch="x86_64",
        profile="default",
        commit="c",
        tree="t",
        release="7.0-p00",
        warnings=(),
        seconds=1.0,
        cached=False,
        key="k",
    )
    monkeypatch.setattr("harness.run.pipeline.build_kernel", lambda *_, **__: kernel)
    build = made.build()
    assert tried
    with pytest.raises(DownloadError, match="cannot fetch the package x"):
        made.image(build)


def test_has_patch_that_goes_on_top(tmp_path: Path) -> None:
    (tmp_path / "own.patch").write_text(mail(f"[PATCH] {SHIPPED[6]}"))
    made = pipeline_at(tmp_path, 0, ["mm: other"], extra=str(tmp_path / "own.patch"))
    assert made.has_patch(SHIPPED[6])
    assert not made.has_patch(7)


@pytest.mark.parametrize("which", [99, 0, "mm: not of the series", "5", ""])
def test_has_patch_that_the_series_has_not_is_refused(tmp_path: Path, which: int | str) -> None:
    made = pipeline_at(tmp_path, 0, [])
    with pytest.raises(SpecError, match=f"suite liveupdate has no patch {which!r}$"):
        made.has_patch(which)


# A suite without a series of its own: what is under test has the word.


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """A suite that names no series, and a series of two patches for it."""
    suite = tmp_path / "suite"
    (suite / "tests").mkdir(parents=True)
    (suite / "suite.yaml").write_text("name: bare\nkernel: 7.0.13\ntests: tests\n")
    mbox(suite / "v1.mbx", mail("[PATCH 1/2] mm: one"), mail("[PATCH 2/2] mm: two"))
    return suite


def test_has_patch_without_a_series_of_the_suite(tmp_path: Path, bare: Path) -> None:
    series = {"suite": str(bare), "series": str(bare / "v1.mbx")}
    made = pipeline_at(tmp_path, 1, ["mm: one", "mm: two"], **series)
    assert made.has_patch(1)
    assert made.has_patch("mm: one")
    assert not made.has_patch("mm: two")
    with pytest.raises(SpecError, match="suite bare has no patch 'mm: three'"):
        made.has_patch("mm: three")


def test_has_patch_that_a_tree_has_without_any_series(tmp_path: Path, bare: Path) -> None:
    made = pipeline_at(tmp_path, 0, [], suite=str(bare), series="none")
    with pytest.raises(SpecError, match="suite bare has no patch 1"):
        made.has_patch(1)


@pytest.mark.parametrize(
    ("subjects", "own"),
    [
        ([SHIPPED[7].lower(), "mm: new"], True),
        (["mm: one", "mm: two"], False),
        (None, False),
    ],
    ids=["re-roll", "another", "none"],
)
def test_series_of_the_suite_is_told_from_another(
    tmp_path: Path, subjects: list[str] | None, own: bool
) -> None:
    series = "none"
    if subjects is not None:
        mails = [mail(f"[PATCH v5 {n}/2] {text}") for n, text in enumerate(subjects, 1)]
        series = mbox(tmp_path / "v5.mbx", *mails)
    made = Pipeline(target(series=series), Store(tmp_path / "cache"), lambda _text: None)
    assert made.is_suites is own


def test_series_of_the_suite_needs_no_reading(tmp_path: Path) -> None:
    assert Pipeline(target(), Store(tmp_path), lambda _text: None).is_suites


def test_room_is_made_when_a_kernel_was_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = pipeline_at(tmp_path, 0, [])
    old = Store(made.store.root).work("old")
    monkeypatch.setenv("HARNESS_ROOM", "0")
    monkeypatch.setattr("harness.run.meanwhile.fetch_packages", lambda *_, **__: None)
    monkeypatch.setattr("harness.run.pipeline.replace", lambda build, **_: build)
    monkeypatch.setattr("harness.run.pipeline.build_kernel", lambda *_, **__: "built")
    assert made.build() == "built"
    assert not old.exists()
