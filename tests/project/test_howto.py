# SPDX-License-Identifier: GPL-2.0-only
"""What the how-tos show besides commands, run: their module, program, profile and tests."""

from __future__ import annotations

from pathlib import Path

import howto
import pytest
from command_examples import environment, finished

from harness.kernel.build import KernelBuild
from harness.run.pipeline import Pipeline

pytestmark = [
    pytest.mark.catalogue,
    pytest.mark.machinery,
    pytest.mark.profiles("default"),
]


def harness(pipeline: Pipeline, home: Path, *words: str | Path) -> str:
    settings = environment(home, pipeline.store.root)
    return finished("harness", *words, cwd=home, env=settings)


def test_suite_of_what_the_how_tos_show(pipeline: Pipeline, tmp_path: Path) -> None:
    suite = howto.write_suite(tmp_path / "suite")
    assert "2 passed in" in harness(pipeline, tmp_path, "run", "--suite", suite)
    words = ("--suite", suite, "--profile", "lockdep", "--explain", "PROVE_LOCKING")
    said = harness(pipeline, tmp_path, "config", *words)
    assert "CONFIG_PROVE_LOCKING=y" in said


@pytest.mark.parametrize("name", howto.OF_THE_SHIPPED_SUITE)
def test_tests_of_the_how_to_pass(
    pipeline: Pipeline, shipped_kernel: KernelBuild, tmp_path: Path, name: str
) -> None:
    file = howto.write_tests(name, tmp_path / "test_howto.py")
    shown = sum(block.count("def test_") for block in howto.snippets(name, "python"))
    assert f"{shown} passed in" in harness(pipeline, tmp_path, "run", "--", file)
