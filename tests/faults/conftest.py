# SPDX-License-Identifier: GPL-2.0-only
"""What is a test of the battery, and what of the runs that it starts."""

from __future__ import annotations

import os

collect_ignore = [] if "FAULTS" in os.environ else ["guest"]
