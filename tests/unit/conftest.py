# SPDX-License-Identifier: GPL-2.0-only
"""What unit tests share, and what none may depend on: whoever runs it, with his configuration."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from trees import kernel_tree

from harness.base.store import Store

NOBODY = {
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_COUNT": "1",
    "GIT_CONFIG_KEY_0": "user.useConfigOnly",
    "GIT_CONFIG_VALUE_0": "true",
}
"""For git: the user has no configuration, and no name that could be guessed from the host's."""


@pytest.fixture(autouse=True, scope="session")
def nobody() -> Iterator[None]:
    """Take the user's configuration of git away."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("GIT_")]:
            patch.delenv(name)
        for name, value in NOBODY.items():
            patch.setenv(name, value)
        yield


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A cache with nothing in it."""
    return Store(tmp_path / "cache")


@pytest.fixture
def kernel(tmp_path: Path) -> Path:
    """A tiny tree in git: tag v1, then one commit more."""
    return kernel_tree(tmp_path)
