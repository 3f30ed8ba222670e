# SPDX-License-Identifier: GPL-2.0-only
"""Splats of base kernels that are shown but fail no test, read from their list."""

from __future__ import annotations

import functools
from pathlib import Path

from harness.base.spec import PROJECT_ROOT
from harness.base.strict_yaml import read_yaml_list
from harness.results.kernel_log import KnownIssue

KNOWN_ISSUES_FILE = PROJECT_ROOT / "kernel-configs" / "known-issues.yaml"


@functools.cache
def load_known_issues(file: Path = KNOWN_ISSUES_FILE) -> tuple[KnownIssue, ...]:
    """Read the list of splats of base kernels that are shown but fail no test.

    :raises SpecError: on anything that is not such a list.
    """
    issues = []
    for item in read_yaml_list(file, "known issues"):
        with item:
            issues.append(
                KnownIssue(
                    title=item.value("title", str),
                    reason=item.value("reason", str),
                    kernels=item.value("kernels", str),
                )
            )
    return tuple(issues)
