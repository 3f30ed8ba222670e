# SPDX-License-Identifier: GPL-2.0-only
"""The documents: the reference is what the code says, and links lead somewhere."""

from __future__ import annotations

import os
import re
import subprocess
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import ModuleType

import pytest

from harness.base.errors import ExitCode, SpecError
from harness.base.suite import load_suite
from harness.base.suite_keys import KEYS
from harness.plugin.hooks import MARKERS

ROOT = Path(__file__).resolve().parents[2]
RENEW = ".venv/bin/python scripts/reference"
LISTED = subprocess.run(
    ["git", "-C", ROOT, "ls-files", "--cached", "--others", "--exclude-standard", "*.md"],
    capture_output=True,
    text=True,
    check=True,
).stdout.split()
DOCUMENTS = sorted(ROOT / name for name in LISTED if (ROOT / name).is_file())


@pytest.fixture(scope="module")
def reference() -> ModuleType:
    """The program that writes the reference."""
    loader = SourceFileLoader("reference", str(ROOT / "scripts" / "reference"))
    spec = spec_from_loader("reference", loader)
    assert spec is not None
    module = module_from_spec(spec)
    loader.exec_module(module)
    return module


def test_reference_is_what_the_code_says(reference: ModuleType) -> None:
    written = (ROOT / "docs" / "reference.md").read_text()
    assert written == reference.document(), f"renew it: {RENEW}"


def test_reference_names_what_there_is(reference: ModuleType) -> None:
    text = reference.document()
    for word in (
        "### harness bisect",
        "`--keep-going`",
        "`--harness-judge desired\\|expected`",
        "**`updated_machine`** (once a session)",
        "`only_from(patch)`",
        "`preconditions.refused`",
        "`HARNESS_TREES`",
        "| `7.0.13` |",
        "| `kcsan` |",
    ):
        assert word in text, word
    for code in ExitCode:
        assert re.search(rf"^\| {int(code)} \| \w", text, re.M), code
    assert len(re.findall(r"^- \*\*`", text, re.M)) >= 16
    assert len(MARKERS) == 13


def test_reference_names_every_variable_of_the_environment(reference: ModuleType) -> None:
    sources = [*(ROOT / "harness").rglob("*.py"), *(ROOT / "harness").rglob("*.c")]
    read = {
        name
        for path in sources
        for name in re.findall(
            r"\b(?:environ\b|getenv\().{0,40}?\"(\w+)\"|\"(HARNESS_\w+)\"", path.read_text()
        )
        for name in name
        if name and name.isupper()
    }
    assert "HARNESS_CACHE" in read
    text = reference.environment()
    foreign = {"PATH", "HOME"}
    assert [name for name in sorted(read - foreign) if f"| `{name}` |" not in text] == []


READ = {
    "": (
        "profiles: {}\nfeatures: {}\npreconditions: {}\ncoverage: {files: a}\n"
        "mutation: {files: []}\nsections: {}\nzzz: 1\n"
    ),
    "profiles": "profiles:\n  p: {description: a, fragments: [], memory_mib: 64, zzz: 1}\n",
    "modules": "modules:\n- {name: a, source: ., zzz: 1}\n",
    "selftests": "selftests:\n- {directory: a, programs: [], zzz: 1}\n",
    "features": "features:\n  a: {description: a, file: a, zzz: 1}\n",
    "preconditions": "preconditions: {zzz: 1}\n",
    "coverage": "coverage: {files: a, zzz: 1}\n",
    "mutation": "mutation: {files: [], zzz: 1}\n",
    "mutation.swap": "mutation: {files: [], swap: [{function: a, first: a, second: a, zzz: 1}]}\n",
}
"""Sections of ``suite.yaml``, each with a key that nobody reads; "" is its top."""


@pytest.mark.parametrize("section", READ)
def test_reference_has_the_keys_that_are_read(tmp_path: Path, section: str) -> None:
    (tmp_path / "suite.yaml").write_text(f"name: a\ntests: .\n{READ[section]}")
    with pytest.raises(SpecError, match="unknown key 'zzz'") as caught:
        load_suite(tmp_path)
    read = (caught.value.hint or "").removeprefix("known: ").split(", ")
    assert sorted(read) == sorted(
        name.rpartition(".")[2] for name in KEYS if name.rpartition(".")[0] == section
    )


def test_every_section_of_a_suite_has_a_case() -> None:
    assert {name.rpartition(".")[0] for name in KEYS} == set(READ)


def anchors(path: Path) -> set[str]:
    """Return the anchors of a document's headings, as GitHub and GitLab make them."""
    headings = re.findall(r"^#+ (.*)$", without_blocks(path.read_text()), re.M)
    return {re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-") for text in headings}


def without_blocks(text: str) -> str:
    """Return a document without what stands in its code blocks."""
    return re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)


def links(path: Path) -> list[str]:
    """Return where a document leads, other sites left out."""
    found = re.findall(r"\]\(([^)\s]+)\)", without_blocks(path.read_text()))
    return [link for link in found if not re.match(r"\w+:", link)]


def test_documents_are_found() -> None:
    assert ROOT / "README.md" in DOCUMENTS
    assert "docs/results.md" in " ".join(links(ROOT / "README.md"))


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: os.path.relpath(path, ROOT))
def test_links_lead_somewhere(document: Path) -> None:
    for link in links(document):
        name, _, anchor = link.partition("#")
        target = document.parent / name if name else document
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target), link
