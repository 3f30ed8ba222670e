# SPDX-License-Identifier: GPL-2.0-only
"""What kernels print about a live update."""

from __future__ import annotations

import re


def handover_found(text: str) -> bool:
    """Say whether a booting kernel found handover data (``kernel/liveupdate/kexec_handover.c``)."""
    return re.search(r"KHO: found kexec handover data", text) is not None


def live_update_number(text: str) -> int | None:
    """Return the last live update number in *text* (``luo_early_startup()``), or ``None``."""
    found = re.findall(r"luo: Retrieved live update data, liveupdate number: (\d+)", text)
    return int(found[-1]) if found else None
