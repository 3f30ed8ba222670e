# SPDX-License-Identifier: GPL-2.0-only
"""Splats of base kernels that are shown but fail no test, read from their list."""

from __future__ import annotations

import functools
from pathlib import Path

from harness.base.strict_yaml import read_yaml_list
from harness.results.kernel_log import KnownIssue


@functools.cache
def load_known_issues(file: Path | None) -> tuple[KnownIssue, ...]:
    """Read the list of splats of base kernels that are shown but fail no test.

    :param file: the suite's; ``None`` has none.
    :raises SpecError: on anything that is not such a list.
    """
    if file is None:
        return ()
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
