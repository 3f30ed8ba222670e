# SPDX-License-Identifier: GPL-2.0-only
"""How Dask is set, on either side."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator

import dask
import distributed  # noqa: F401 - it sets its loggers up when it is imported

from harness.base.timeouts import HOST

LOST = 3
"""How often a task of a lost worker is given to another."""

_CONFIG = {
    "distributed.scheduler.allowed-failures": LOST,
    # Jobs are programs of their own: what Dask would sample is a thread that waits.
    "distributed.worker.profile.enabled": False,
    "distributed.comm.timeouts.connect": f"{HOST.connect_s:.0f}s",
}


@contextlib.contextmanager
def configured() -> Iterator[None]:
    """Have Dask set, and silent about what it does, in the block."""
    logger = logging.getLogger("distributed")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with dask.config.set(_CONFIG):
            yield
    finally:
        logger.setLevel(before)
