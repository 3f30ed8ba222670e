# SPDX-License-Identifier: GPL-2.0-only
"""What becomes of a task of Dask's, waited for in steps."""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import Callable
from typing import Any

from distributed import Future

from harness.base import command
from harness.base.errors import CommandError
from harness.base.timeouts import HOST


def outcome(future: Future[Any], look: Callable[[], None], what: str) -> Any:
    """Wait for a task, and return what came of it.

    What it came to is fetched once, however long that takes; to ask Dask with a timeout, again and
    again, would begin the transfer anew each time.

    :param look: is called at each step; what it raises ends the waiting.
    :param what: the task, for people.
    :raises CommandError: when this thread is interrupted.
    """

    async def come() -> Any:
        return await future

    coming = asyncio.run_coroutine_threadsafe(come(), future.client.loop.asyncio_loop)
    try:
        while not concurrent.futures.wait([coming], timeout=HOST.poll_s).done:
            if command.interrupted():
                raise CommandError(f"interrupted while waiting to {what}", argv=())
            look()
        return coming.result()
    finally:
        coming.cancel()
