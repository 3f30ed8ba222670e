# SPDX-License-Identifier: GPL-2.0-only
"""Be a worker: take jobs from a scheduler until it goes, or somebody ends this."""

from __future__ import annotations

import asyncio
import os
import socket
from typing import Any

from distributed import Worker
from distributed.security import Security
from distributed.worker import DEFAULT_METRICS

from harness.base import command
from harness.base.errors import InfrastructureError
from harness.base.timeouts import HOST
from harness.cluster.host import NAME, Host
from harness.cluster.security import is_loopback
from harness.cluster.settings import configured

_SPARE_THREADS = 4
"""Threads for handing over what others ask for while every place is taken."""


def usual_name() -> str:
    """Return what a worker is called when nobody says anything."""
    return f"{socket.gethostname()}-{os.getpid()}"


def serve(address: str, security: Security, host: Host, *, name: str) -> None:
    """Be a worker of the scheduler at *address*; return when it has ended the worker.

    It listens where the scheduler is reached from: for a scheduler of this machine's own on the
    loopback interface alone.

    :raises InfrastructureError: when the scheduler cannot be reached, or is gone.
    """
    with configured():
        asyncio.run(_serve(address, security, host, name))


async def _serve(address: str, security: Security, host: Host, name: str) -> None:
    scratch = host.store.root / "tmp" / f"dask-{os.getpid()}"
    offer = host.offer
    options: dict[str, Any] = {}
    if is_loopback(address.partition("://")[2].rpartition(":")[0]):
        options["host"] = "127.0.0.1"
    try:
        async with Worker(
            address,
            name=name,
            security=security,
            nthreads=offer.guests + offer.builds + _SPARE_THREADS,
            resources=offer.resources,
            plugins=(host,),
            metrics={**DEFAULT_METRICS, NAME: _metric(host)},
            local_directory=str(scratch),
            dashboard_address="127.0.0.1:0",
            memory_limit=0,
            death_timeout=HOST.connect_s,
            **options,
        ) as worker:
            await worker.finished()
    except (OSError, TimeoutError, ValueError) as error:
        raise InfrastructureError(
            f"no worker of {address}: {str(error.__cause__ or error).partition(chr(10))[0]}"
        ) from error
    finally:
        command.interrupt()


def _metric(host: Host) -> Any:
    async def facts(worker: Worker) -> dict[str, Any]:
        return host.facts(worker)

    return facts
