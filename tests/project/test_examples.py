# SPDX-License-Identifier: GPL-2.0-only
"""The examples of the documents and of ``--help`` that build or boot, each made a short one.

They bring the shipped series and its kernel along, whatever else is under test.
"""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pexpect
import pytest
from _pytest.mark import ParameterSet
from command_examples import AT_A_TERMINAL, DEADLINE_S, ROOT, WITH_MACHINE, Run, environment, run
from schemas import complaints, read

from harness.base.spec import PROJECT_ROOT
from harness.base.store import Store
from harness.base.suite import load_suite
from harness.kernel.build import KernelBuild
from harness.run.pipeline import Pipeline

SERIES = Path(load_suite(PROJECT_ROOT).series or "")

pytestmark = [
    pytest.mark.catalogue,
    pytest.mark.machinery,
    pytest.mark.profiles("default"),
]


def numbered(table: Mapping[str, Run]) -> list[ParameterSet]:
    """Return examples as parameters that ``-k`` does not find by the words in them."""
    return [pytest.param(example, id=str(n)) for n, example in enumerate(table, 1)]


def turn(example: str, store: Store) -> contextlib.AbstractContextManager[object]:
    """Wait for another worker's nightly: there may be one at a time."""
    alone = example.startswith("harness nightly")
    return store.lock("nightly-example") if alone else contextlib.nullcontext()


@pytest.fixture(scope="module")
def tree(
    pipeline: Pipeline, shipped_kernel: KernelBuild, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A git tree with the kernel before the series, in a home directory of its own."""
    source, path = pipeline.source, tmp_path_factory.mktemp("tree") / "linux"
    words = ("clone", "-q", "--shared", "--no-checkout", source.repo, path)
    subprocess.run(["git", *words], check=True)
    subprocess.run(["git", "-C", path, "update-ref", "--no-deref", "HEAD", source.base], check=True)
    subprocess.run(["git", "-C", path, "tag", "v7.0", source.base], check=True)
    # Of the caches, only what is made of the tree here is its own: it is gone with the tree.
    cache = path.with_name("cache")
    cache.mkdir()
    for name in ("objects", "locks", "tmp", "keys", "ccache", "downloads"):
        (pipeline.store.root / name).mkdir(exist_ok=True)
        (cache / name).symlink_to(pipeline.store.root / name)
    return path


@pytest.fixture
def home(pipeline: Pipeline, tree: Path, tmp_path: Path) -> Path:
    """A directory with everything that the examples name."""
    (tmp_path / "linux").symlink_to(tree)
    for name in ("tests", "pyproject.toml"):
        (tmp_path / name).symlink_to(ROOT / name)
    mails = [path.read_bytes() for path in sorted(SERIES.glob("00*.patch"))]
    (tmp_path / "v4.mbx").write_bytes(b"".join(mails))
    (tmp_path / "nightly.yaml").write_text(
        "kernels: {pinned: {package: pinned}}\nprofiles: [default]\npositions: '11'\n"
        f"accel: {pipeline.accel.name}\npytest_args: [-k, idle]\n"
    )
    return tmp_path


def cache_of(example: str, tree: Path, pipeline: Pipeline) -> Path:
    return tree.with_name("cache") if "~/linux" in example else pipeline.store.root


@pytest.mark.parametrize("example", numbered(WITH_MACHINE))
def test_example_runs(pipeline: Pipeline, tree: Path, home: Path, example: str) -> None:
    how = WITH_MACHINE[example]
    with turn(example, pipeline.store):
        done = run(example, how, home, cache_of(example, tree, pipeline))
    assert done.returncode in how.codes, f"{example}: {done.stdout}"
    assert how.says in done.stdout
    assert "Traceback" not in done.stdout
    written = home / "out.json"
    assert written.exists() is ("--json out.json" in example)
    if written.exists():
        name = {"run": "results", "matrix": "matrix"}[example.split()[1]]
        assert complaints(name, read(written)) == []


@pytest.mark.parametrize("example", numbered(AT_A_TERMINAL))
def test_example_runs_at_a_terminal(pipeline: Pipeline, home: Path, example: str) -> None:
    how = AT_A_TERMINAL[example]
    child = pexpect.spawn(
        "sh",
        ["-c", how.command_of(example)],
        cwd=str(home),
        env=environment(home, pipeline.store.root),
        encoding="utf-8",
        timeout=DEADLINE_S,
        logfile=(home / "terminal").open("w"),
    )
    try:
        child.expect("Ctrl-] ends it")
        child.expect("harness .*# ")
        child.send("echo $((6 * 7))th\r")
        child.expect("42th")
        child.sendcontrol("]")
        child.expect(pexpect.EOF)
    finally:
        child.close()
        child.logfile.close()
    said = (home / "terminal").read_text()
    assert child.exitstatus == 0, f"{example}: {said}"
    assert how.says in said
