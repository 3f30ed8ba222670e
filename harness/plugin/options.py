# SPDX-License-Identifier: GPL-2.0-only
"""What the settings are in a session of pytest.

Every one is looked for on the command line (``--harness-X``), then in the environment
(``HARNESS_X``), then in the ini file (``harness_x``), then there is a default.
"""

from __future__ import annotations

import pytest

from harness.base.errors import SpecError
from harness.base.settings import SETTING
from harness.base.suite import Suite, find_suite, load_suite


def setting(config: pytest.Config, name: str) -> str | None:
    """Return a setting's value: command line, environment, ini file, default, in this order.

    :raises SpecError: when it is none of the setting's choices.
    """
    one = SETTING[name]
    return one.value(config.getoption(one.ini), config.getini(one.ini))


def profile_name(config: pytest.Config) -> str:
    """Return the profile's name as markers have it; the setting is NAME, or NAME@ARCH."""
    return (setting(config, "profile") or "").partition("@")[0]


def suite_of(config: pytest.Config) -> Suite:
    """Return the suite that the tests are of.

    :raises SpecError: when there is none, or its file is not as it should be.
    """
    return load_suite(find_suite(setting(config, "suite")))


def worker_of(config: pytest.Config) -> str | None:
    """Return the name of the pytest-xdist worker that this is, ``None`` when it is none."""
    given = getattr(config, "workerinput", None)
    return None if given is None else str(given["workerid"])


def usable(config: pytest.Config, name: str) -> str | None:
    """Return the value of a setting that a session cannot begin without.

    :raises pytest.UsageError: when it is none of the setting's choices.
    """
    try:
        return setting(config, name)
    except SpecError as error:
        raise pytest.UsageError(error.message) from error
