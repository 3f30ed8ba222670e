# SPDX-License-Identifier: GPL-2.0-only
"""YAML is read strictly, and errors name file and line."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from harness.base.errors import SpecError
from harness.base.spec import (
    GitSpec,
    KernelSpec,
    PackageSpec,
    load_image,
    load_kernels,
    load_profiles,
)
from harness.base.strict_yaml import read_yaml

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
        (("memory_mib: 512", "memory_mib: !mib 512"), 5, "not valid YAML"),
        (("memory_mib: 512", "memory_mib: 2026-02-31"), 2, "day is out of range"),
        (("[kho=on]", "&a [*a]"), 4, "not valid YAML"),
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


@pytest.mark.parametrize(("data", "said"), [(b"a: \xff", "can't decode"), (b"a: \x07", "#x0007")])
def test_file_that_is_no_text_is_named(tmp_path: Path, data: bytes, said: str) -> None:
    file = tmp_path / "profiles.yaml"
    file.write_bytes(data)
    with pytest.raises(SpecError, match=f"cannot read {file}: .*{said}"):
        load_profiles(file)


# -- mappings in a list ----------------------------------------------------------------------


def read_list(tmp_path: Path, text: str) -> list[tuple[int, str]]:
    """Read a list below the key ``parts``: the line of each, and its ``name``."""
    file = tmp_path / "list.yaml"
    file.write_text(text)
    found = []
    with read_yaml(file, "top") as top:
        for part in top.sections("parts"):
            with part:
                found.append((part.line, part.value("name", str)))
    return found


def test_sections_are_the_mappings_of_a_list(tmp_path: Path) -> None:
    text = "parts:\n  - name: a\n\n  - {name: b}\n"
    assert read_list(tmp_path, text) == [(2, "a"), (4, "b")]


@pytest.mark.parametrize("text", ["{}\n", "parts: []\n"])
def test_sections_of_nothing_are_none(tmp_path: Path, text: str) -> None:
    assert read_list(tmp_path, text) == []


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("parts: {name: a}\n", 1, "parts in top must be list, not dict"),
        ("x: 1\nparts:\n  - name: a\n  - b\n", 2, "must be a list of mappings"),
        ("parts:\n  - name: a\n    nmae: b\n", 3, "unknown key 'nmae'"),
        ("parts:\n  - name: a\n  - name: 1\n", 3, "name in top.parts must be str"),
        ("parts:\n  - name: a\n  - nick: b\n", 3, "top.parts lacks the key 'name'"),
    ],
)
def test_sections_that_are_wrong_are_told_with_file_and_line(
    tmp_path: Path, text: str, line: int, message: str
) -> None:
    with pytest.raises(SpecError) as caught:
        read_list(tmp_path, text)
    assert message in caught.value.message
    assert f"list.yaml:{line}:" in caught.value.message


# -- kernels that have a name ----------------------------------------------------------------

KERNEL = """\
1.2:
  package: linux-source-1.2
  version: 1.2-3
  filename: linux.deb
  sha256: abc
  size_bytes: 7
  pool: pool/linux.deb
"""


def test_kernels_are_read(tmp_path: Path) -> None:
    file = tmp_path / "kernels.yaml"
    file.write_text(
        KERNEL + "1.3: {package: p, version: v, filename: f, sha256: s, size_bytes: 1,"
        " pool: q, urls: [https://a.example/f, https://b.example/f]}\n"
    )
    found = load_kernels(file)
    assert list(found) == ["1.2", "1.3"]
    assert found["1.2"].package == PackageSpec(
        name="linux-source-1.2",
        version="1.2-3",
        filename="linux.deb",
        sha256="abc",
        size_bytes=7,
        pool="pool/linux.deb",
    )
    assert found["1.3"].package is not None
    assert found["1.3"].package.urls == ("https://a.example/f", "https://b.example/f")


def test_kernel_that_is_a_branch_is_read(tmp_path: Path) -> None:
    file = tmp_path / "kernels.yaml"
    file.write_text("tip: {branch: master, urls: [https://a.example, https://b.example]}\n")
    branch = GitSpec(urls=("https://a.example", "https://b.example"), branch="master")
    assert load_kernels(file) == {"tip": KernelSpec(git=branch)}
    assert load_kernels(file)["tip"].what == "master of https://a.example"


@pytest.mark.parametrize(
    ("change", "line", "message"),
    [
        (("  pool:", "  pol:"), 2, "kernels.1.2 lacks the key 'pool'"),
        (("size_bytes: 7", "size_bytes: big"), 6, "size_bytes in kernels.1.2 must be int"),
        (("  sha256: abc\n", "  sha256: abc\n  md5: x\n"), 6, "unknown key 'md5'"),
        (("  sha256: abc\n", "  sha256: abc\n  urls: x\n"), 6, "urls in kernels.1.2 must be list"),
    ],
)
def test_kernel_that_is_wrong_is_told_with_file_and_line(
    tmp_path: Path, change: tuple[str, str], line: int, message: str
) -> None:
    file = tmp_path / "kernels.yaml"
    file.write_text(KERNEL.replace(*change))
    with pytest.raises(SpecError) as caught:
        load_kernels(file)
    assert message in caught.value.message
    assert f"{file}:{line}:" in caught.value.message


def test_shipped_kernels_are_pinned_by_their_content() -> None:
    packages = {name: spec.package for name, spec in load_kernels().items() if spec.git is None}
    assert len(packages) >= 3
    for name, kernel in packages.items():
        assert kernel is not None
        assert kernel.version.startswith(name)
        assert re.fullmatch("[0-9a-f]{64}", kernel.sha256)
        assert kernel.pool.endswith(f"/{kernel.filename}")
        assert len(kernel.urls) >= 2


# -- files -----------------------------------------------------------------------------------


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
