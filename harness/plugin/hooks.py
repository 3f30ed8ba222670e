# SPDX-License-Identifier: GPL-2.0-only
"""The pytest plugin that pytest loads: it brings the others, options and markers."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Generator

import pytest

from harness.base.errors import InputError
from harness.base.importing import make_importable
from harness.base.settings import SETTING, SETTINGS, UNTIL_FAILED
from harness.base.trouble import trouble_of_host
from harness.plugin.interrupts import held
from harness.plugin.options import profile_name, setting, suite_of
from harness.plugin.session import SESSION, session_of

pytest_plugins = ("harness.plugin.fixtures", "harness.plugin.verdict", "harness.plugin.results")

MARKERS = (
    "fresh_machine: give the test a machine that nothing else has used",
    "splat(regex, profiles=None): the kernel log must show such a title, on these profiles only",
    "fails_before(patch, splat=None, sometimes=False, bug=None): the patch that brings it",
    "fails_without(feature, match, splat=None, sometimes=False): the fix; match: what it says then",
    "beyond(reason, weight): asks for more than the series promises; weight: low, medium, high",
    "only_from(patch): the test has nothing to ask before that patch",
    "feature(name): the test asks about kernels that have a feature of the suite",
    "without_feature(name): the test asks about kernels that have it not",
    "catalogue: pins what a patch changes, or must not; scripts/run goes without",
    "both_ends: hangs on no patch; where stated expectations are judged, at the series' ends only",
    "machinery: asks about the harness; deselected where stated expectations are judged",
    "two_kernels: goes from the kernel under test to that of --to; deselected without one",
    "profiles(name, ...): the kernel profiles the test makes sense with; elsewhere deselected",
)
"""What each marker is for, as pytest lists it."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the options, all with one prefix."""
    group = parser.getgroup(
        "harness", "kernel under test in QEMU (--harness-X, or HARNESS_X in the environment)"
    )
    for one in SETTINGS:
        group.addoption(one.plugin_option, dest=one.ini, metavar=one.metavar, help=one.text)
        parser.addini(one.ini, one.text, default="")
    group.addoption(
        UNTIL_FAILED,
        action="store_true",
        help="end with the first test that fails; unlike -x not with one that has no verdict",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Register the markers, and bring the suite's own plugins."""
    try:
        suite = suite_of(config)
    except InputError:
        suite = None  # said when a test asks for a kernel: other sessions are not concerned
    if suite is not None:
        make_importable(suite.root)
    for name in suite.plugins if suite is not None else ():
        config.pluginmanager.import_plugin(name)
    for marker in MARKERS:
        config.addinivalue_line("markers", marker)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> Generator[None, None, None]:
    """Let a session that cannot write its results say so, and be no verdict.

    An interrupt has to wait until they are written: pytest has no place for it here.
    """
    state = session.config.stash.get(SESSION, None)
    with held(session) if state is not None and state.is_run else contextlib.nullcontext():
        try:
            yield
        except OSError as error:
            trouble = trouble_of_host(error)
            if trouble is None:
                raise
            print(f"\nERROR: {trouble.message}", file=sys.stderr)  # noqa: T201 - the terminal's part failed
            session.exitstatus = int(trouble.exit_code)
        except KeyboardInterrupt:
            print("\nERROR: interrupted before the results were written", file=sys.stderr)  # noqa: T201
        finally:
            # Others may have failed before our part had its turn.
            if state is not None:
                state.close()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out tests of other profiles, and those that no patch can change.

    What judges by stated expectations goes through many positions, and asks about the kernel.
    """
    profile = profile_name(config)
    state = session_of(config)
    two = setting(config, "to") is not None
    left_out = [] if two else ["two_kernels"]
    if state.by_expectation:
        left_out.append("machinery")
        ends = any(item.get_closest_marker("both_ends") for item in items)
        if ends and not (_asked_for_by_itself(config) or state.at_an_end):
            left_out.append("both_ends")
    kept: list[pytest.Item] = []
    others: list[pytest.Item] = []
    for item in items:
        fits = all(profile in mark.args for mark in item.iter_markers("profiles"))
        asked = not any(item.get_closest_marker(name) for name in left_out)
        (kept if fits and asked else others).append(item)
    if others:
        config.hook.pytest_deselected(items=others)
        items[:] = kept


def _asked_for_by_itself(config: pytest.Config) -> bool:
    """Return whether somebody wants these tests, or other seeds of what they draw."""
    named = config.option.keyword or any("::" in argument for argument in config.args)
    settings = (SETTING[name] for name in ("seed", "races", "schedule"))
    return bool(named) or any(
        setting(config, one.name) not in (None, one.default) for one in settings
    )
