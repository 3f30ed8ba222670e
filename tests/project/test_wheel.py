# SPDX-License-Identifier: GPL-2.0-only
"""The package as others install it: a wheel in an environment of its own, far from a checkout.

What it runs here is the shipped kernel, from the cache, and the example suite with all its cells.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from command_examples import ROOT, environment, finished
from filelock import FileLock

import harness
from harness.kernel.build import KernelBuild
from harness.run.pipeline import Pipeline

pytestmark = [
    pytest.mark.catalogue,
    pytest.mark.machinery,
    pytest.mark.profiles("default"),
]

Command = Callable[..., str]

FIX = "lib/cmdline: Count no more numbers than the array holds"
CASE = "lib/cmdline: Test ranges that do not fit into the array"
PAST_THE_END = "test_get_options.py::test_range_past_the_end_is_counted_as_far_as_stored"


def install(place: Path) -> None:
    """Build the wheel, and install it with all that it depends on."""
    pip = (sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation")
    finished(*pip, "-w", place, ROOT)
    (wheel,) = place.glob("*.whl")
    finished(sys.executable, "-m", "venv", place / "venv")
    finished(place / "venv/bin/pip", "install", "-q", "--no-compile", wheel)


@pytest.fixture(scope="session")
def programs(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """Where the installed programs are; the workers of pytest-xdist have one installation."""
    base = tmp_path_factory.getbasetemp()
    place = (base if worker_id == "master" else base.parent) / "wheel"
    with FileLock(f"{place}.lock"):
        if not (place / "venv/bin/harness").is_file():
            shutil.rmtree(place, ignore_errors=True)
            place.mkdir()
            install(place)
    return place / "venv/bin"


@pytest.fixture
def command(programs: Path, pipeline: Pipeline, tmp_path: Path) -> Command:
    """Run ``harness`` from the wheel in an empty directory; return what it printed."""
    settings = environment(tmp_path, pipeline.store.root)
    del settings["PYTHONPATH"]
    settings["PATH"] = f"{programs}{os.pathsep}{os.environ['PATH']}"

    def run(*words: str | Path) -> str:
        return finished(programs / "harness", *words, cwd=tmp_path, env=settings)

    return run


def read(path: Path) -> Any:
    return json.loads(path.read_text())


def test_wheel_is_what_is_asked(programs: Path, tmp_path: Path) -> None:
    code = "import harness; print(harness.__file__)"
    where = finished(programs / "python", "-P", "-c", code, cwd=tmp_path)
    assert Path(where.strip()).is_relative_to(programs.parent)


def test_version_is_that_of_the_checkout(command: Command) -> None:
    assert command("--version") == f"harness {harness.__version__}\n"


def test_programs_of_the_package_can_be_run(programs: Path) -> None:
    (found,) = programs.parent.glob("lib/python*/site-packages/harness/kernel/bin/ccache")
    assert os.access(found, os.X_OK)


def test_manual_page_is_in_the_package(command: Command) -> None:
    assert ".TH HARNESS 1" in command("man")


def test_host_is_looked_at(command: Command, tmp_path: Path) -> None:
    command("doctor", "--json", "found.json")
    found = read(tmp_path / "found.json")
    assert found["ok"]
    # It has the list of packages.
    assert {"make", "flex", "bison"} <= {item["name"] for item in found["items"]}


def test_kernels_are_listed(command: Command, tmp_path: Path) -> None:
    command("kernels", "--json", "found.json")
    assert "7.0.13" in [kernel["name"] for kernel in read(tmp_path / "found.json")]


def test_suite_is_begun(command: Command, tmp_path: Path) -> None:
    command("init", "own", "--kernel", "7.0.13")
    assert "name: own\n" in (tmp_path / "own/suite.yaml").read_text()


def test_shipped_suite_runs_on_the_kernel_of_the_checkout(
    command: Command, shipped_kernel: KernelBuild, tmp_path: Path
) -> None:
    command("run", "--json", "out.json", "--", "-k", "idle_module")
    found = read(tmp_path / "out.json")
    # The key is of what the kernel is made of, not of where that lies.
    assert found["builds"] == {"11": shipped_kernel.key}
    assert found["kernel"]["cached"] is True
    assert found["tests"]
    assert {test["outcome"] for test in found["tests"]} == {"passed"}


# -- the example suite -----------------------------------------------------------------------


@pytest.fixture
def example(command: Command, tmp_path: Path) -> Path:
    """The example suite, copied out of the wheel."""
    command("init", "example", "--example")
    return tmp_path / "example"


def test_matrix_of_the_example_shows_what_each_patch_brings(
    command: Command, example: Path, tmp_path: Path
) -> None:
    command("matrix", "--suite", example, "--fresh", "--json", "out.json")
    found = read(tmp_path / "out.json")
    cells = [(cell["position"], cell["profile"]) for cell in found["positions"]]
    assert cells == [(0, "default"), (1, "default"), (2, "default")]
    outcomes = [Counter(cell["tests"].values()) for cell in found["positions"]]
    assert outcomes == [
        {"passed": 12, "failed": 6, "skipped": 1},
        {"passed": 18, "skipped": 1},
        {"passed": 26},
    ]
    assert found["unexpected"] == []
    brought = Counter((item["to"], item["subject"]) for item in found["transitions"])
    assert brought == {(1, FIX): 6, (2, CASE): 1}


def test_bisection_of_the_example_names_the_fix(
    command: Command, example: Path, tmp_path: Path
) -> None:
    test = f"{PAST_THE_END}[1-5]"
    command("bisect", "--suite", example, "--test", test, "--json", "out.json")
    found = read(tmp_path / "out.json")
    assert (found["first"]["position"], found["first"]["subject"]) == (1, FIX)
    assert (found["before"]["verdict"], found["after"]["verdict"]) == ("fails", "passes")


def test_mutant_of_the_example_is_killed(command: Command, example: Path, tmp_path: Path) -> None:
    command("mutants", "--suite", example, "--json", "out.json")
    (mutant,) = read(tmp_path / "out.json")["mutants"]
    assert (mutant["name"], mutant["fate"]) == ("room-from-the-start", "killed")
    assert mutant["killer"].startswith(f"{PAST_THE_END}[")
