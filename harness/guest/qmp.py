# SPDX-License-Identifier: GPL-2.0-only
"""QEMU's control channel, as plain calls."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

from qemu.qmp import EventListener, QMPClient, QMPError

from harness.base.timeouts import HOST

_T = TypeVar("_T")


class Qmp:
    """A connection to QEMU: asyncio in a thread of its own, plain calls outside.

    :param sock: connected to QEMU; whoever made it closes it.
    :ivar shutdown_reason: why the guest ended, in QEMU's words; ``None`` before it has.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._client = QMPClient("harness")
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="qmp", daemon=True)
        self._thread.start()
        self.shutdown_reason: str | None = None

    def connect(self) -> None:
        """Take up the connection, and note from now on why the guest ends.

        :raises QMPError: when what is there does not speak QMP; also OSError and TimeoutError.
        """
        self._call(self._connect(), HOST.qmp_s)

    async def _connect(self) -> None:
        self._client.logger.setLevel(logging.CRITICAL)
        self._client.register_listener(self._listener())
        await self._client.connect(self._sock)

    def _listener(self) -> Any:
        def note(event: Any) -> bool:
            if event["event"] == "SHUTDOWN":
                self.shutdown_reason = str(event["data"].get("reason", "unknown"))
            return False

        return EventListener(event_filter=note)

    def execute(
        self, name: str, arguments: dict[str, object] | None = None, *, timeout_s: float
    ) -> object:
        """Run a QMP command and return its result.

        :raises QMPError: when QEMU refuses it or goes away; also OSError and TimeoutError.
        """
        return self._call(self._client.execute(name, arguments), timeout_s)

    def close(self) -> None:
        """End the connection and its thread."""
        with contextlib.suppress(QMPError, OSError, EOFError, TimeoutError):
            self._call(self._client.disconnect(), 2.0)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _call(self, work: Coroutine[Any, Any, _T], timeout_s: float) -> _T:
        future = asyncio.run_coroutine_threadsafe(asyncio.wait_for(work, timeout_s), self._loop)
        return future.result()
