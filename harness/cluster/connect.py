# SPDX-License-Identifier: GPL-2.0-only
"""Come to a cluster: to a scheduler that is there, or to workers that are started here."""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from distributed import Client, LocalCluster

from harness.base import command
from harness.base.cpus import usable_cpus
from harness.base.errors import InfrastructureError, SpecError
from harness.base.store import Store
from harness.base.timeouts import HOST
from harness.cluster.client import Cluster
from harness.cluster.offer import places
from harness.cluster.security import checked_address, security_of
from harness.cluster.settings import configured

_LOCAL = re.compile(r"local:([1-9]\d*)")
_CPUS_A_BUILD = 4
"""Below that many, a second build at a time takes its CPUs from the first."""


@contextlib.contextmanager
def connected(
    address: str, keys: Path | None, store: Store, *, suite: Path, qemu: Path | None
) -> Iterator[Cluster]:
    """Yield a cluster for the length of the block.

    :param address: of a scheduler, or ``local:N`` for N workers on this machine, each with a cache
        of its own below that of *store*.
    :param keys: the directory of the keys for TLS, or ``None``.
    :param suite: the suite of workers that are started here, as is *qemu*.
    :raises SpecError: when it is no address.
    :raises InfrastructureError: when nobody answers there.
    """
    local = _LOCAL.fullmatch(address)
    with configured(), contextlib.ExitStack() as stack:
        if local is not None:
            count = int(local.group(1))
            address = stack.enter_context(_local(count, store, suite, qemu))
        else:
            address = checked_address(address)
        client = _client(address, keys)
        stack.callback(client.close, timeout=HOST.grace_s)
        if local is not None:
            _wait_for_workers(client, count, store)
        yield Cluster(client)


def connect(address: str, keys: Path | None) -> Client:
    """Return a client of the scheduler at an address; the caller closes it.

    :raises SpecError: when it is no address of a scheduler.
    :raises InfrastructureError: when nobody answers there.
    """
    if _LOCAL.fullmatch(address):
        raise SpecError(f"{address} is there only while a command runs", hint="name a scheduler")
    with configured():
        return _client(checked_address(address), keys)


def _client(address: str, keys: Path | None) -> Client:
    security = security_of(address, keys)
    try:
        return Client(
            address,
            security=security,
            timeout=HOST.connect_s,
            set_as_default=False,
            direct_to_workers=False,
        )
    except (OSError, TimeoutError) as error:
        said = str(error.__cause__ or error).partition("\n")[0]
        raise InfrastructureError(
            f"there is no scheduler at {address}: {said}",
            hint="'dask scheduler' starts one, see docs/howto/cluster.md",
        ) from error


@contextlib.contextmanager
def _local(count: int, store: Store, suite: Path, qemu: Path | None) -> Iterator[str]:
    """Have a scheduler in this process, and workers beside it; yield the scheduler's address."""
    builders = max(1, usable_cpus() // _CPUS_A_BUILD)
    guests = max(1, places() // count)
    with contextlib.ExitStack() as stack:
        scheduler = stack.enter_context(
            LocalCluster(n_workers=0, host="127.0.0.1", dashboard_address="127.0.0.1:0")
        )
        address = str(scheduler.scheduler_address)
        for number in range(1, count + 1):
            cache = local_cache(store, number)
            words = ["env", f"HARNESS_CACHE={cache}", sys.executable, "-m", "harness", "worker"]
            words += [address, "--name", f"local-{number}", "--suite", str(suite)]
            words += ["--guests", str(guests), "--builds", str(int(number <= builders))]
            words += ["--qemu", str(qemu)] if qemu is not None else []
            stack.enter_context(command.spawn(words, log_file=_log(cache), grace_s=HOST.unwind_s))
        yield address


def local_cache(store: Store, number: int) -> Path:
    """Return the cache of a worker on this machine, below that of *store*."""
    return store.root / "cluster" / str(number)


def _log(cache: Path) -> Path:
    cache.mkdir(mode=0o700, parents=True, exist_ok=True)
    return cache.with_name(f"{cache.name}.log")


def _wait_for_workers(client: Client, count: int, store: Store) -> None:
    try:
        client.wait_for_workers(count, timeout=HOST.connect_s)
    except TimeoutError as error:
        raise InfrastructureError(
            f"not all of {count} workers came within {HOST.connect_s:.0f} s",
            log=_log(local_cache(store, 1)),
        ) from error
