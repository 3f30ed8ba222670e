# SPDX-License-Identifier: GPL-2.0-only
"""What no unit test may depend on: the configuration and the name of whoever runs it."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

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
