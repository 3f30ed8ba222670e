# SPDX-License-Identifier: GPL-2.0-only
"""YAML is read strictly, and errors name file and line."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.base.errors import SpecError
from harness.base.spec import KernelSpec, load_image, load_profile, load_profiles

GOOD = """\
tiny:
  description: the smallest
  fragments: [base.config]
  cmdline: [kho=on]
  memory_mib: 512
"""


@pytest.fixture
def profiles(tmp_path: Path) -> Path:
    (tmp_path / "base.config").write_text("CONFIG_X=y\n")
    file = tmp_path / "profiles.yaml"
    file.write_text(GOOD)
    return file


def test_profiles_are_read_with_defaults(profiles: Path) -> None:
    tiny = load_profiles(profiles)["tiny"]
    assert tiny.fragments == (profiles.parent / "base.config",)
    assert (tiny.memory_mib, tiny.cpus, tiny.timeout_scale) == (512, 2, 1.0)


@pytest.mark.parametrize(
    ("change", "line", "message"),
    [
        (("cmdline", "comandline"), 4, "unknown key 'comandline'"),
        (("memory_mib: 512", "memory_mib: lots"), 5, "memory_mib in profiles.tiny must be int"),
        (("memory_mib: 512", "memory_mib: true"), 5, "must be int, not bool"),
        (("memory_mib: 512", "memory_mib: 1"), 5, "at least 64"),
        (("[kho=on]", "[1]"), 4, "strings only"),
        (("base.config", "absent.config"), 3, "no such fragment"),
        (("  memory_mib: 512\n", ""), 2, "lacks the key 'memory_mib'"),
        (("  cmdline: [kho=on]\n", "  memory_mib: 1024\n"), 5, "stands twice"),
        (("[kho=on]", "[kho=on"), 5, "not valid YAML"),
    ],
)
def test_profiles_error_names_file_and_line(
    profiles: Path, change: tuple[str, str], line: int, message: str
) -> None:
    profiles.write_text(GOOD.replace(*change))
    with pytest.raises(SpecError) as caught:
        load_profiles(profiles)
    assert message in caught.value.message
    assert f"{profiles}:{line}:" in caught.value.message


def test_profile_unknown_name_lists_the_known(profiles: Path) -> None:
    with pytest.raises(SpecError, match="no profile 'huge'") as caught:
        load_profile("huge", profiles)
    assert caught.value.hint == "known profiles: tiny"


def test_profiles_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"cannot read .*absent\.yaml"):
        load_profiles(tmp_path / "absent.yaml")


def test_shipped_profiles_are_valid() -> None:
    assert {"default", "debug"} <= set(load_profiles())


def test_image_overlay_must_exist(tmp_path: Path) -> None:
    recipe = tmp_path / "image.yaml"
    recipe.write_text("name: x\npackages: []\nfiles: {}\noverlay: absent\n")
    with pytest.raises(SpecError, match=r"image.yaml:4: no such directory"):
        load_image(recipe)


def test_kernel_is_a_path_or_a_package() -> None:
    with pytest.raises(SpecError):
        KernelSpec()
