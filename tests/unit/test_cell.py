# SPDX-License-Identifier: GPL-2.0-only
"""A cell's command lines; nothing is run here."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

import pytest
from shipped import SUITE

from harness.base.errors import InputError
from harness.base.settings import SETTING, target_from_settings
from harness.base.spec import Target
from harness.base.suite import Suite, load_suite
from harness.run.cell import (
    Cell,
    find_test,
    function_of,
    pytest_argv,
    pytest_environment,
    reproduce,
)

TEST = "test_module.py::test_idle_module_can_be_unloaded[0]"


def target(**settings: str) -> Target:
    return target_from_settings(settings.get)


def argv(cell: Cell) -> list[str]:
    return [str(word) for word in pytest_argv(cell, Path("/results"))]


def test_argv_says_everything_about_the_target() -> None:
    cell = Cell(target=target(position="3", profile="debug", extra="/x.patch"), cmdline="a b")
    words = argv(cell)
    for word in ("position=3", "profile=debug", "extra=/x.patch", "cmdline=a b", "judge=expected"):
        assert f"--harness-{word}" in words


def test_argv_without_tests_runs_all_guest_tests() -> None:
    assert argv(Cell(target=target()))[-1] == str(SUITE.tests)
    assert argv(Cell(target=target(), pytest_args=("-k", "memfd")))[-1] == str(SUITE.tests)


def test_argv_with_tests_runs_only_them() -> None:
    words = argv(Cell(target=target(), tests=(TEST,), pytest_args=("-x",)))
    assert words[-2:] == ["-x", str(SUITE.tests / TEST)]


def test_argv_with_a_path_of_ones_own_runs_only_that(tmp_path: Path) -> None:
    path = str(tmp_path / "test_own.py")
    Path(path).touch()
    words = argv(Cell(target=target(), pytest_args=(f"{path}::test_x",)))
    assert words[-1] == f"{path}::test_x"


@pytest.mark.parametrize("word", ["tests/guest/test_module.py::test_x", "test_module.py::test_x"])
def test_argv_finds_guest_tests_from_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, word: str
) -> None:
    monkeypatch.chdir(tmp_path)
    words = argv(Cell(target=target(), pytest_args=(word,)))
    assert words[-1] == str(SUITE.tests / "test_module.py::test_x")
    assert str(SUITE.tests) not in words


def test_argv_of_a_test_that_is_not_there_is_refused() -> None:
    with pytest.raises(InputError, match=r"there is no test 'test_absent\.py::test_x'"):
        argv(Cell(target=target(), tests=("test_absent.py::test_x",)))


def test_no_setting_in_the_environment_gets_at_the_tests() -> None:
    # Whether machines are cloned changes no result.
    names = SETTING.keys() - {"templates", "room"}
    assert set(pytest_environment()) == {SETTING[name].variable for name in names}


def test_reproduce_names_what_differs_from_the_defaults() -> None:
    cell = Cell(target=target(position="10"), tests=(TEST,))
    assert reproduce(cell) == (
        f"harness run --position 10 --profile default --expected -- 'tests/guest/{TEST}'"
    )


def test_reproduce_names_tree_series_and_extra_patches() -> None:
    made = target(kernel="/linux", base="v7.0", series="/v4.mbx", position="2", extra="/x y.patch")
    found = reproduce(Cell(target=made, judge="desired", pytest_args=("-k", "a or b")))
    assert found == (
        "harness run --series /v4.mbx --position 2 --profile default --kernel /linux --base v7.0 "
        "--extra '/x y.patch' -- -k 'a or b'"
    )


def test_reproduce_names_the_compiler_wherever_it_came_from(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CC", "gcc-14")
    found = reproduce(Cell(target=target(), judge="desired"))
    assert found == "harness run --position last --profile default --cc gcc-14"


# -- a suite of one's own --------------------------------------------------------------------


@pytest.fixture
def own(tmp_path: Path) -> Suite:
    """A suite inside of a project that configures pytest in its own way."""
    (tmp_path / "pyproject.toml").write_text("[tool.pytest.ini_options]\nminversion = '99'\n")
    root = tmp_path / "own"
    (root / "checks").mkdir(parents=True)
    (root / "checks" / "test_own.py").write_text("def test_x(): pass\n")
    (root / "suite.yaml").write_text("name: own\ntests: checks\nkernel: /linux\n")
    return load_suite(root)


def cell_of(suite: Suite, *tests: str, **settings: str) -> Cell:
    return Cell(target=target(suite=str(suite.root), **settings), tests=tests)


def test_tests_run_in_their_own_suite_with_its_configuration(own: Suite) -> None:
    words = argv(cell_of(own))
    assert f"--rootdir={own.root}" in words
    assert f"--harness-suite={own.root}" in words
    assert words[-1] == str(own.tests)
    configuration = Path(words[words.index("-c") + 1])
    assert configuration.is_file()
    assert not configuration.is_relative_to(own.root.parent)
    (own.root / "pytest.ini").write_text("[pytest]\n")
    words = argv(cell_of(own))
    assert words[words.index("-c") + 1] == str(own.root / "pytest.ini")


def test_ids_are_below_the_tests_of_the_suite(own: Suite) -> None:
    assert argv(cell_of(own, "test_own.py::test_x"))[-1] == f"{own.tests}/test_own.py::test_x"
    with pytest.raises(InputError, match=r"there is no test 'test_module\.py::test_x'"):
        argv(cell_of(own, "test_module.py::test_x"))


@pytest.mark.parametrize("text", ["test_x", "test_own.py::test_x", "checks/test_own.py::test_x"])
def test_find_test_of_the_suite(own: Suite, text: str) -> None:
    assert find_test(text, own) == "test_own.py::test_x"


def test_find_test_of_another_suite_is_not_there(own: Suite) -> None:
    with pytest.raises(InputError, match="there is no test"):
        find_test("test_idle_module_can_be_unloaded[0]", own)


def test_reproduce_names_the_suite(own: Suite, monkeypatch: pytest.MonkeyPatch) -> None:
    cell = cell_of(own, "test_own.py::test_x", position="2")
    # It says the same wherever it is typed.
    for directory in (own.root.parent, own.root):
        monkeypatch.chdir(directory)
        words = shlex.split(reproduce(cell))
        assert words[2:4] == ["--suite", str(own.root)]
        assert words[-2:] == ["--", "checks/test_own.py::test_x"]
        options = words[2 : words.index("--expected")]
        settings = dict(zip(options[::2], options[1::2], strict=True))
        assert target(**{name[2:]: value for name, value in settings.items()}) == cell.target


@pytest.mark.parametrize(
    ("test_id", "function"),
    [
        ("test_a.py::test_x", "test_a.py::test_x"),
        ("test_a.py::test_x[1-a::b]", "test_a.py::test_x[1-a::b]"),
        ("test_a.py::test_x::case", "test_a.py::test_x"),
        ("test_a.py::test_x[1]::a case", "test_a.py::test_x[1]"),
    ],
)
def test_function_of_a_subtest(test_id: str, function: str) -> None:
    assert function_of(test_id) == function


@pytest.mark.parametrize(
    "text",
    [
        "test_module.py::test_idle_module_can_be_unloaded[0]",
        "tests/guest/test_module.py::test_idle_module_can_be_unloaded[0]",
        "/somewhere/tests/guest/test_module.py::test_idle_module_can_be_unloaded[0]",
        "test_idle_module_can_be_unloaded[0]",
    ],
)
def test_find_test(text: str) -> None:
    assert find_test(text, SUITE) == "test_module.py::test_idle_module_can_be_unloaded[0]"


@pytest.mark.parametrize("text", ["test_absent", "test_absent.py::test_x", "idle_module", ""])
def test_find_test_that_is_not_there(text: str) -> None:
    with pytest.raises(InputError, match="there is no test"):
        find_test(text, SUITE)


@pytest.mark.parametrize("suite", [SUITE.root, SUITE.root / "examples" / "get-options"])
def test_tests_of_a_suite_are_found_with_its_own_configuration(suite: Path, tmp_path: Path) -> None:
    words = [str(word) for word in pytest_argv(cell_of(load_suite(suite)), tmp_path)]
    words += ["--collect-only", "-q"]
    done = subprocess.run(words, cwd=suite, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
