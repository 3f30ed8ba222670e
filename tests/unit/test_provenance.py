# SPDX-License-Identifier: GPL-2.0-only
"""What results say of what was under test; nothing is compiled or booted here."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest
from schemas import complaints as wrong_with

from harness.base.errors import SeriesError
from harness.base.settings import target_from_settings
from harness.base.store import Store
from harness.guest.accel import Accel
from harness.guest.image import Image
from harness.kernel.apply import AppliedSeries, Position, SupportPatch
from harness.kernel.build import KernelBuild
from harness.kernel.source import SourceTree, git
from harness.kernel.thread import LeftOut
from harness.kernel.toolchain import Toolchain
from harness.results.facts import LeftOutFacts, Provenance, SupportFacts
from harness.results.form import from_plain, to_plain
from harness.run.pipeline import Pipeline
from harness.run.provenance import describe_kernel, describe_series, facts_of

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "results.md"


@pytest.fixture
def pipeline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pipeline:
    """Return a pipeline that has been through its stages: two patches, and the first applied."""
    monkeypatch.setattr("harness.run.provenance.qemu_version", lambda _qemu: "7.2.22")
    repo = tmp_path / "linux"
    git(tmp_path, "init", "-q", repo)
    commits = []
    for subject in ("base", "mm: one", "mm: two"):
        (repo / "mm.c").write_text(f"{subject}\n")
        git(repo, "add", ".")
        words = ("-c", "user.name=A", "-c", "user.email=a@example.com", "commit", "-q", "-m")
        git(repo, *words, subject)
        commits.append(git(repo, "rev-parse", "HEAD").stdout.strip())
    source = SourceTree(
        repo=repo, base=commits[0], tree="", version="7.0", label="", public=False, lock=""
    )
    build = KernelBuild(
        directory=tmp_path / "build",
        arch="x86_64",
        profile="default",
        commit=commits[1],
        tree="",
        release="7.0-p01",
        warnings=(),
        seconds=20.0,
        cached=True,
        key="b" * 64,
    )
    made = Pipeline(target_from_settings({"position": "1"}.get), Store(tmp_path / "cache"), print)
    vars(made).update(
        source=source,
        applied=AppliedSeries(
            source=source,
            series=None,
            support=(SupportPatch(subject="s", reason="r", applied=False, why_left_out="w"),),
            positions=tuple(
                Position(number=n, subject=f"mm: {n}", commit=commit, tree="")
                for n, commit in enumerate(commits)
            ),
        ),
        toolchain=Toolchain(compiler="gcc 12", linker="ld 2.40", ccache=False),
        accel=Accel(name="tcg", reason="there is no /dev/kvm"),
        _builds={1: build},
        _images={build.key: Image(initrd=tmp_path / "initrd", size_bytes=1, key="i" * 64)},
    )
    return made


def test_facts_are_what_results_are_made_of(pipeline: Pipeline, tmp_path: Path) -> None:
    facts = facts_of(pipeline)
    kernel = facts.kernel
    assert (kernel.release, kernel.build_seconds) == ("7.0-p01", 0.0)
    # Position 0 was never built.
    assert kernel.new_warnings is None
    assert facts.builds == {"1": "b" * 64}
    assert from_plain(Provenance, to_plain(facts)) == facts
    assert wrong_with("build", to_plain(facts)) == []
    assert wrong_with("build", to_plain([facts])) == []
    named = set(re.findall(r'"(\w+)"', DOCUMENT.read_text()))
    parts = (kernel, facts.series, facts.machine)
    assert {key for part in parts for key in to_plain(part)} - named == set()


def test_fixes_that_a_tree_lacks_are_told_by_feature_and_by_patch(pipeline: Pipeline) -> None:
    fixes = {fix.feature: fix for fix in describe_kernel(pipeline).fixes}
    series = fixes["module-unload"]
    assert (series.has, series.fixed_in, len(series.missing)) == (False, "7.1", 11)
    assert (fixes["flb-retrieve-once"].has, fixes["flb-retrieve-once"].missing) == (False, ())
    assert set(describe_kernel(pipeline).lacks) == {"7.0", "7.1", "7.2"}


def test_fix_that_a_tree_shows_is_there(pipeline: Pipeline) -> None:
    repo, header = pipeline.source.repo, Path("kernel/liveupdate/luo_session.c")
    (repo / header).parent.mkdir(parents=True)
    (repo / header).write_text("static DECLARE_RWSEM(luo_session_serialize_rwsem);\n")
    public = repo / "include/linux/liveupdate.h"
    public.parent.mkdir(parents=True)
    public.write_text("void liveupdate_unregister_file_handler(struct x *);\n")
    git(repo, "add", ".")
    words = ("-c", "user.name=A", "-c", "user.email=a@example.com", "commit", "-q", "-m", "fix")
    git(repo, *words)
    commit = git(repo, "rev-parse", "HEAD").stdout.strip()
    vars(pipeline)["_own"] = Position(number=1, subject="", commit=commit, tree="")
    fixes = {fix.feature: fix.has for fix in describe_kernel(pipeline).fixes}
    assert (fixes["reboot-holds-sessions"], fixes["retrieve-holds-sessions"]) == (True, False)
    # One patch of a series shows what all of them bring: the others are missed all the same.
    assert fixes["module-unload"] is False


def test_patchset_has_each_patch_up_to_the_position(pipeline: Pipeline) -> None:
    (patch,) = facts_of(pipeline).kernel.patchset
    assert re.fullmatch("[0-9a-f]{64}", patch)


def test_series_is_described_with_what_was_left_out(pipeline: Pipeline) -> None:
    left_out = (LeftOut(what="v3, part 1 of 2", why="part 2 of 2 missing"),)
    shipped = pipeline.series
    assert shipped is not None
    series = dataclasses.replace(shipped, taken="v2, 11 patches", left_out=left_out)
    vars(pipeline).update(applied=dataclasses.replace(pipeline.applied, series=series))
    found = describe_series(pipeline)
    assert found.taken == "v2, 11 patches"
    assert found.left_out == (LeftOutFacts(what="v3, part 1 of 2", why="part 2 of 2 missing"),)


def test_series_that_does_not_apply_is_described(pipeline: Pipeline) -> None:
    facts = describe_series(pipeline)
    vars(pipeline).update(
        target=dataclasses.replace(pipeline.target, position=None),
        applied=dataclasses.replace(
            pipeline.applied,
            series=pipeline.series,
            positions=pipeline.applied.positions[:2],
            broken=SeriesError("patch 2 does not apply"),
        ),
    )
    found = describe_series(pipeline)
    assert (found.patches, found.suite) == (facts.patches[:1], ())


def test_series_is_described_whole_whatever_is_applied(pipeline: Pipeline) -> None:
    found = describe_series(pipeline)
    assert (found.position, found.total) == (1, 2)
    assert [patch.position for patch in found.patches] == [1, 2]
    assert found.support == (
        SupportFacts(subject="s", reason="r", applied=False, why_left_out="w"),
    )
    assert {(item.number, item.has) for item in found.suite} == {
        (number, False) for number in range(1, 12)
    }
