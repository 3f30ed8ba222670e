# SPDX-License-Identifier: GPL-2.0-only
"""The architectures that a test is run for: those whose guests are set up on this host."""

from __future__ import annotations

import pytest

from harness.base.arch import ARCHITECTURES
from harness.base.command import which

SET_UP = [
    pytest.param(
        arch,
        id=name,
        marks=pytest.mark.skipif(
            not arch.is_host and (which(arch.qemu) is None or which(f"{arch.cross}gcc") is None),
            reason=f"its guests are not set up here: scripts/setup --arch {name}",
        ),
    )
    for name, arch in ARCHITECTURES.items()
]
