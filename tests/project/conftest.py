# SPDX-License-Identifier: GPL-2.0-only
"""What the project's own tests have in common."""

from __future__ import annotations

import pytest

from harness.base.spec import PROJECT_ROOT
from harness.base.suite import load_suite
from harness.kernel.build import KernelBuild
from harness.run.pipeline import Pipeline


@pytest.fixture(scope="session")
def shipped_kernel(pipeline: Pipeline, kernel: KernelBuild) -> KernelBuild:
    """The kernel of the shipped series; skips where another one is under test."""
    target = pipeline.target
    series = load_suite(PROJECT_ROOT).series
    if target.kernel.path is not None or target.series != series or target.extra:
        pytest.skip("this is about the shipped series")
    return kernel
