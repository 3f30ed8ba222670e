# SPDX-License-Identifier: GPL-2.0-only
"""A scheduler with many workers that pretend: what the harness and Dask cost beside the jobs.

The scheduler is Dask's own, in a process of its own; the workers are Dask's with what
``harness worker`` adds, all of them in one further process; jobs sleep.  Run as a program this is
that further process.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distributed import Worker
from distributed.worker import DEFAULT_METRICS

from harness.base import command
from harness.base.errors import InfrastructureError
from harness.base.spec import PROJECT_ROOT
from harness.base.store import Store
from harness.base.timeouts import HOST
from harness.cluster import offer
from harness.cluster.client import Cluster
from harness.cluster.connect import connected
from harness.cluster.host import NAME, Host
from harness.cluster.settings import configured

GUESTS = 2
"""Places for guests of each worker: the cells were recorded on 2 CPUs."""

RESULT_BYTES = 4 << 20
"""What the results of a cell come to, about."""

_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """What a cell costs besides its build and its tests, in seconds of one CPU.

    :param prepare_s: on the one that asks, before anything is sent: keys, patches, commits.
    :param collect_s: on the one that asks, for its tasks and results.
    :param scheduler_s: on the scheduler, for its tasks and results.
    :param idle: share of its one CPU that the scheduler needs when there is nothing to do.
    :param look_s: telling of its workers, once a second, on the scheduler.
    """

    prepare_s: float
    collect_s: float
    scheduler_s: float
    idle: float
    look_s: float


@dataclass(frozen=True, slots=True)
class Crowd:
    """Workers that pretend, and the scheduler's process."""

    cluster: Cluster
    scheduler: int

    def scheduler_cpu_s(self) -> float:
        """Return the CPU time that the scheduler has used."""
        fields = Path(f"/proc/{self.scheduler}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS


def pretend(seconds: float, size: int = 0) -> bytes:
    """Do a job."""
    time.sleep(seconds)
    return bytes(size)


@contextlib.contextmanager
def crowd(workers: int) -> Iterator[Crowd]:
    """Have a scheduler and so many workers.

    :raises InfrastructureError: when they do not come.
    """
    with tempfile.TemporaryDirectory(prefix="harness-crowd-") as name, contextlib.ExitStack() as st:
        directory = Path(name)
        log = directory / "scheduler.log"
        argv = [str(Path(sys.executable).with_name("dask")), "scheduler", "--host", "127.0.0.1"]
        argv += ["--port", "0", "--no-dashboard"]
        scheduler = st.enter_context(command.spawn(argv, log_file=log))
        address = _wait(lambda: re.search(r"Scheduler at:\s+(tcp://\S+)", log.read_text()), log)[1]
        words = ["env", f"PYTHONPATH={PROJECT_ROOT}", sys.executable, "-m", __spec__.name, address]
        log = directory / "workers.log"
        st.enter_context(command.spawn([*words, str(workers), name], log_file=log))
        store = Store(directory / "own")
        cluster = st.enter_context(connected(address, None, store, suite=PROJECT_ROOT, qemu=None))
        _wait(lambda: sum(bool(w.facts) for w in cluster.workers()) == workers, log)
        yield Crowd(cluster, scheduler.pid)


def _wait(what: Any, log: Path) -> Any:
    deadline = time.monotonic() + 4 * HOST.connect_s
    while time.monotonic() < deadline:
        if found := what():
            return found
        time.sleep(HOST.poll_s / 2)
    raise InfrastructureError("no scheduler, or not all of its workers", log=log)


async def _workers(address: str, count: int, directory: Path) -> None:
    store = Store(directory / "workers")
    facts = offer.look_around(PROJECT_ROOT, store, guests=GUESTS)

    def metric(host: Host) -> Any:
        async def said(worker: Worker) -> dict[str, Any]:
            return host.facts(worker)

        return said

    async with contextlib.AsyncExitStack() as stack:
        for number in range(count):
            host = Host(store, PROJECT_ROOT, None, facts)
            await stack.enter_async_context(
                Worker(
                    address,
                    name=f"crowd-{number}",
                    nthreads=GUESTS + 1,
                    resources={offer.BUILD: 1.0, offer.GUEST: float(GUESTS)},
                    plugins=(host,),
                    metrics={**DEFAULT_METRICS, NAME: metric(host)},
                    local_directory=str(directory / "dask"),
                    dashboard=False,
                    memory_limit=0,
                    host="127.0.0.1",
                )
            )
        await asyncio.Event().wait()


# -- what things cost ----------------------------------------------------------------------


def build(cluster: Cluster, key: str, seconds: float) -> None:
    """Have a kernel built, once for whoever asks."""
    needs = {offer.BUILD: 1.0}

    def make() -> Any:
        return cluster.task(pretend, seconds, key=f"build-{key}", needs=needs)

    cluster.wait(cluster.kernel(key, make), needs, "build")


def test(cluster: Cluster, seconds: float) -> None:
    """Have a cell tested, and its results handed over."""
    for needs, took, size in (({offer.GUEST: 1.0}, seconds, 0), ({}, 0.0, RESULT_BYTES)):
        key = f"test-{uuid.uuid4().hex}"
        future = cluster.task(pretend, took, size, key=key, needs=needs)
        cluster.wait(future, needs, "test")


def measure_jobs(found: Crowd, count: int) -> tuple[float, float]:
    """Return what the jobs of a cell cost the scheduler and the one who asks."""

    def jobs() -> None:
        build(found.cluster, uuid.uuid4().hex, 0.0)
        test(found.cluster, 0.0)

    began, own = found.scheduler_cpu_s(), time.process_time()
    with ThreadPoolExecutor(8) as pool:
        for done in [pool.submit(jobs) for _ in range(count)]:
            done.result()
    return (found.scheduler_cpu_s() - began) / count, (time.process_time() - own) / count


def measure_idle(found: Crowd, seconds: float) -> float:
    """Return the share of a CPU that the scheduler needs for workers that do nothing."""
    began = found.scheduler_cpu_s()
    time.sleep(seconds)
    return (found.scheduler_cpu_s() - began) / seconds


def measure_look(found: Crowd, count: int) -> float:
    """Return what it costs the scheduler to tell of its workers once."""
    began = found.scheduler_cpu_s()
    for _ in range(count):
        found.cluster.workers()
    return (found.scheduler_cpu_s() - began) / count


if __name__ == "__main__":
    with configured():
        asyncio.run(_workers(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])))
