# SPDX-License-Identifier: GPL-2.0-only
"""Features: read from a suite, found in a tree, and never a version."""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path

import pytest
from shipped import SUITE

from harness.base.errors import SpecError
from harness.base.features import FeatureSpec, read_features
from harness.base.spec import KernelSpec
from harness.base.store import Store
from harness.base.strict_yaml import read_yaml
from harness.kernel.features import features_of
from harness.kernel.source import SourceTree, open_source

ROOT = Path(__file__).resolve().parents[2]
HEADER = "struct a {\n\tint b;\n};\nvoid put(struct a *a);\n"


@pytest.fixture
def tree(tmp_path: Path) -> SourceTree:
    """A kernel of a header and a Kconfig symbol."""
    tree = tmp_path / "linux"
    (tree / "include").mkdir(parents=True)
    (tree / "include/a.h").write_text(HEADER)
    (tree / "Makefile").write_text("VERSION = 9\nPATCHLEVEL = 1\nSUBLEVEL = 0\n")
    (tree / "Kconfig").write_text("menuconfig OWN\n\tbool\n\nconfig OWNER\n\tbool\n")
    for words in (
        ("init", "-q"),
        ("add", "-A"),
        ("-c", "user.name=A", "-c", "user.email=a@example.com", "commit", "-qm", "state"),
    ):
        subprocess.run(["git", *words], cwd=tree, check=True, capture_output=True)
    store = Store(tmp_path / "cache")
    return open_source(KernelSpec(path=tree), store, progress=lambda _what: None)


@pytest.mark.parametrize(
    ("feature", "there"),
    [
        ({"file": "include/a.h"}, True),
        ({"file": "include/b.h"}, False),
        ({"file": "include/a.h", "contains": r"^void put\("}, True),
        ({"file": "include/a.h", "contains": r"^int put\("}, False),
        ({"file": "include/a.h", "contains": r"struct a \{[^}]*int b;"}, True),
        ({"file": "include/b.h", "contains": "x"}, False),
        ({"symbol": "OWN"}, True),
        ({"symbol": "OWNED"}, False),
    ],
)
def test_feature_is_found_in_the_tree(
    tree: SourceTree, feature: dict[str, str], there: bool
) -> None:
    spec = FeatureSpec(name="one", description="", **feature)  # type: ignore[arg-type]
    other = FeatureSpec(name="other", description="", file="Kconfig")
    assert features_of(tree, [spec, other]) == ({"one", "other"} if there else {"other"})


def features(tmp_path: Path, text: str) -> tuple[FeatureSpec, ...]:
    file = tmp_path / "features.yaml"
    file.write_text(f"features:\n  {text}\n")
    with read_yaml(file, "suite") as top:
        return read_features(top)


def test_features_are_read(tmp_path: Path) -> None:
    assert features(tmp_path, "put: {description: d, file: a.h, contains: x, macro: HAVE_X}") == (
        FeatureSpec(name="put", description="d", file="a.h", contains="x", macro="HAVE_X"),
    )
    (fix,) = features(tmp_path, "a: {description: d, file: a, fixes: bug, fixed_in: '9.2'}")
    assert (fix.fixes, fix.fixed_in) == ("bug", "9.2")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Put: {description: d, file: f}", "'Put' is no name"),
        ("put: {description: d}", "known by a file or by a symbol"),
        ("put: {description: d, file: f, symbol: S}", "known by a file or by a symbol"),
        ("put: {description: d, symbol: S, contains: x}", "contains goes with file"),
        ("put: {description: d, file: f, contains: '('}", "is no regular expression"),
        ("put: {description: d, file: f, macro: have}", "is no name of a macro"),
        ("put: {description: d, file: f, fixes: bug}", "fixes and fixed_in go together"),
        ("put: {description: d, file: f, since: 7}", "unknown key 'since'"),
    ],
)
def test_feature_that_is_wrong_is_told_with_file_and_line(
    tmp_path: Path, text: str, message: str
) -> None:
    with pytest.raises(SpecError, match=re.escape(message)) as caught:
        features(tmp_path, text)
    assert f"{tmp_path}/features.yaml:2:" in caught.value.message


# -- nothing asks for a version ----------------------------------------------------------------

C_VERSION = re.compile(r"LINUX_VERSION_CODE|KERNEL_VERSION\s*\(|UTS_RELEASE|linux/version\.h")
COMPARED = (ast.Lt, ast.LtE, ast.Gt, ast.GtE, ast.Eq, ast.NotEq, ast.In, ast.NotIn)
VERSION = re.compile(r"\d+\.\d+(\.\d+)?(-rc\d+)?")
OF_KERNELS = ("version", "release")


def compares_versions(text: str) -> list[int]:
    """Return the lines of Python that compare a kernel's version or release with a version.

    That a result is the right one may be asserted; nothing may hang on it.
    """
    tree = ast.parse(text)
    asserted = {
        node.test
        for node in ast.walk(tree)
        if isinstance(node, ast.Assert)
        and isinstance(node.test, ast.Compare)
        and isinstance(node.test.ops[0], ast.Eq)
    }
    return [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Compare)
        and node not in asserted
        and any(isinstance(operator, COMPARED) for operator in node.ops)
        and is_about_versions([node.left, *node.comparators])
    ]


def is_about_versions(sides: list[ast.expr]) -> bool:
    """Say whether one side names a version and another is one; a bare number may be a format's."""
    named = [side for side in sides if names_one(side)]
    parts = {type(part) for side in named for part in ast.walk(side)}
    taken_apart = bool(parts & {ast.Call, ast.Subscript})
    return bool(named) and any(is_one(side, number=taken_apart) for side in sides)


def names_one(node: ast.expr) -> bool:
    return any(
        (isinstance(part, ast.Attribute) and part.attr in OF_KERNELS)
        or (isinstance(part, ast.Name) and part.id in OF_KERNELS)
        for part in ast.walk(node)
    )


def is_one(node: ast.expr, *, number: bool) -> bool:
    if isinstance(node, ast.Tuple | ast.List | ast.Set):
        return any(is_one(part, number=True) for part in node.elts)
    if not isinstance(node, ast.Constant):
        return False
    if isinstance(node.value, str):
        return VERSION.match(node.value) is not None
    return number and isinstance(node.value, int | float)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("if source.version >= '7.2': pass", [1]),
        ("if version < (7, 2): pass", [1]),
        ("if kernel.release.split('.')[0] == 7: pass", [1]),
        ("if one.release == other.release: pass", []),
        ("if 'put' in features: pass", []),
        ("if before.version is None: pass", []),
        ("if version in ('7.2', '7.3'): pass", [1]),
        ("if schema.version == 2: pass", []),
        ("assert kernel.version == '7.0.13'", []),
        ("assert kernel.version >= '7.0.13'", [1]),
        ("assert kernel.version != '7.0.13'", [1]),
    ],
)
def test_compared_version_is_noticed(text: str, found: list[int]) -> None:
    assert compares_versions(text) == found


def test_no_version_of_a_kernel_is_compared_in_python() -> None:
    files = [
        path for room in ("harness", "tests", "benchmarks") for path in (ROOT / room).rglob("*.py")
    ]
    said = [
        f"{path.relative_to(ROOT)}:{line}"
        for path in files
        for line in compares_versions(path.read_text())
    ]
    assert len(files) > 100
    assert said == []


def test_no_version_of_a_kernel_is_asked_for_in_c() -> None:
    files = [
        path
        for folder in ("harness", "images", "tests/kmod")
        for path in (ROOT / folder).rglob("*")
        if path.suffix in (".c", ".h") or path.name in ("Kbuild", "Makefile")
    ]
    assert len(files) > 20
    assert [path for path in files if C_VERSION.search(path.read_text())] == []


# -- the shipped suite -------------------------------------------------------------------------


def test_every_macro_of_the_module_is_that_of_a_feature() -> None:
    used = {
        macro
        for path in (ROOT / "tests/kmod").glob("*.[ch]")
        for macro in re.findall(r"\bHAVE_\w+", path.read_text())
        if macro != "HAVE_"
    }
    assert used == {feature.macro for feature in SUITE.features if feature.macro}


def test_every_feature_that_a_test_names_is_one_of_the_suite() -> None:
    named = {
        name
        for path in SUITE.tests.glob("*.py")
        for name in re.findall(r"feature\(\s*\"([^\"]+)\"", path.read_text())
    }
    assert named
    assert named <= {feature.name for feature in SUITE.features}
