# SPDX-License-Identifier: GPL-2.0-only
"""The shipped suite."""

from __future__ import annotations

from pathlib import Path

from harness.base.spec import PROJECT_ROOT
from harness.base.suite import load_suite

SUITE = load_suite(PROJECT_ROOT)

assert SUITE.series is not None
SERIES = Path(SUITE.series)
