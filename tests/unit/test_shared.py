# SPDX-License-Identifier: GPL-2.0-only
"""A store that several machines share: what one has made the others need not make."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest

from harness.base.store import Store


@pytest.fixture(params=["directory", "memory"])
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A directory, or an address of fsspec's that is one as well."""
    there = tmp_path / "shared"
    given = str(there) if request.param == "directory" else f"local://{there}"
    there.mkdir()
    (there / "build").mkdir()
    monkeypatch.setenv("HARNESS_STORE", given)
    return given


def make(directory: Path) -> None:
    (directory / "below").mkdir()
    (directory / "below" / "program").write_text("#!")
    (directory / "below" / "program").chmod(0o755)
    (directory / "link").symlink_to("below/program")


def never(_directory: Path) -> None:
    raise AssertionError("it was made again")


def test_what_one_cache_made_another_takes(place: str, tmp_path: Path) -> None:
    first, second = Store(tmp_path / "first"), Store(tmp_path / "second")
    first.get_or_make("build", "k", make)
    found = second.get_or_make("build", "k", never)
    assert found.is_relative_to(tmp_path / "second")
    assert (found / "below" / "program").stat().st_mode & 0o777 == 0o755
    assert (found / "link").read_text() == "#!"
    assert second.get("build", "other") is None


def test_what_is_of_one_machine_is_not_shared(place: str, tmp_path: Path) -> None:
    Store(tmp_path / "first").get_or_make("template", "k", make)
    assert Store(tmp_path / "second").get("template", "k") is None


@pytest.mark.parametrize("how", ["changed", "cut", "added"])
def test_what_is_not_whole_is_not_taken(
    how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("HARNESS_STORE", str(tmp_path / "shared"))
    Store(tmp_path / "first").get_or_make("build", "k", make)
    file = tmp_path / "shared" / "build" / "k.tar"
    if how == "cut":
        file.write_bytes(file.read_bytes()[:3000])
    else:
        work = tmp_path / "work"
        with tarfile.open(file) as tar:
            tar.extractall(work, filter="data")
        (work / ("below/program" if how == "changed" else "further")).write_text("!#")
        with tarfile.open(file, "w") as tar:
            tar.add(work, arcname=".")
    second = Store(tmp_path / "second")
    assert second.get("build", "k") is None
    assert "HARNESS_STORE" in caplog.text
    made = second.get_or_make("build", "k", make)
    assert (made / "below" / "program").read_text() == "#!"


def test_store_that_cannot_be_written_is_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("HARNESS_STORE", str(tmp_path / "file" / "below"))
    Store(tmp_path / "cache").get_or_make("build", "k", make)
    assert "is not put there" in caplog.text
