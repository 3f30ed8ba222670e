# SPDX-License-Identifier: GPL-2.0-only
"""What the plugin takes, and from where.

Every option is looked for on the command line (``--harness-X``), then in the environment
(``HARNESS_X``), then in the ini file (``harness_x``), then there is a default.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

import pytest

from harness.base.suite import Suite, find_suite, load_suite


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One option of the plugin, under a name without prefix."""

    name: str
    metavar: str
    help: str
    default: str | None = None


OPTIONS = (
    Option(name="suite", metavar="DIR", help="directory with a suite.yaml (default: the shipped)"),
    Option(
        name="kernel",
        metavar="WHICH",
        help="a name, git tree, tarball or source package (default: the suite's)",
    ),
    Option(name="base", metavar="REV", help="revision of a git tree to start from"),
    Option(
        name="series",
        metavar="WHERE",
        help="mbox, maildir, directory or A..B; 'none' for no patches (default: the suite's)",
    ),
    Option(name="position", metavar="N", help="how many patches to apply (default: all)"),
    Option(name="extra", metavar="FILES", help="patches on top of the position, colon-separated"),
    Option(name="profile", metavar="NAME", help="kernel profile", default="default"),
    Option(name="accel", metavar="auto|kvm|tcg", help="QEMU accelerator", default="auto"),
    Option(name="qemu", metavar="PROGRAM", help="QEMU (default: the one on PATH)"),
    Option(name="cmdline", metavar="WORDS", help="further kernel parameters"),
    Option(name="cc", metavar="PROGRAM", help="compiler, such as gcc-14 (default: $CC, or gcc)"),
    Option(name="jobs", metavar="N", help="parallel compilers (default: one for each CPU)"),
    Option(
        name="judge",
        metavar="desired|expected",
        help="by what the series is to bring, or by what the markers state for the position",
        default="desired",
    ),
    Option(
        name="templates",
        metavar="yes|no",
        help="clone machines from one that was booted, or boot each",
        default="yes",
    ),
    Option(name="results", metavar="DIR", help="where logs and results.json go"),
)


def setting(config: pytest.Config, name: str) -> str | None:
    """Return an option's value: command line, environment, ini file, default, in this order."""
    default = next(option.default for option in OPTIONS if option.name == name)
    given = config.getoption(f"harness_{name}")
    if given is not None:
        return str(given)
    return os.environ.get(f"HARNESS_{name.upper()}") or config.getini(f"harness_{name}") or default


def suite_of(config: pytest.Config) -> Suite:
    """Return the suite that the tests are of.

    :raises SpecError: when there is none, or its file is not as it should be.
    """
    return load_suite(find_suite(setting(config, "suite")))


def worker_of(config: pytest.Config) -> str | None:
    """Return the name of the pytest-xdist worker that this is, ``None`` when it is none."""
    given = getattr(config, "workerinput", None)
    return None if given is None else str(given["workerid"])


def by_expectation(config: pytest.Config) -> bool:
    """Return whether tests are judged by what their markers state for the position."""
    return one_of(config, "judge", "desired", "expected") == "expected"


def one_of(config: pytest.Config, name: str, *choices: str) -> str:
    """Return the value of a setting that has only these *choices*.

    :raises pytest.UsageError: when it is none of them.
    """
    value = setting(config, name) or ""
    if value not in choices:
        raise pytest.UsageError(f"--harness-{name} is {' or '.join(choices)}, not {value!r}")
    return value
