# SPDX-License-Identifier: GPL-2.0-only
"""Commands about clusters, and the option that has cells run on one."""

from __future__ import annotations

import argparse
import contextlib
import functools
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from harness.base.errors import ExitCode, InputError
from harness.base.settings import qemu_from_setting
from harness.base.store import Store
from harness.base.suite import find_suite
from harness.base.terminal import Ui
from harness.base.text import path_of
from harness.cli.options import OUTPUT, Commands, add_settings, parallel_cells, write_json
from harness.run.executor import RunCell

if TYPE_CHECKING:
    from harness.cluster.workers import WorkerFacts

_WORKER_EXAMPLES = """\
examples:
  harness worker tcp://127.0.0.1:8786
  harness worker tls://build1:8786 --tls ~/cluster-keys --guests 4
"""
_CLUSTER_EXAMPLES = """\
examples:
  harness cluster keys ~/cluster-keys       keys for TLS, to be copied to every machine
  harness cluster status --cluster tls://build1:8786 --tls ~/cluster-keys
"""


def add_commands(commands: Commands) -> None:
    """Add ``worker`` and ``cluster``."""
    text = "run cells for others: be a worker of a cluster"
    worker = commands.add("worker", _worker, text, _WORKER_EXAMPLES)
    worker.add_argument("address", metavar="ADDRESS", help="of the scheduler")
    worker.add_argument("--name", metavar="NAME", help="what it is called (default: HOST-PID)")
    worker.add_argument(
        "--guests",
        metavar="N",
        type=_count,
        help="cells tested at once (default: by CPUs and memory)",
    )
    worker.add_argument(
        "--builds", metavar="N", type=_count, help="kernels built at once (default: 1)"
    )
    add_settings(worker, "suite", "qemu")
    _add_tls(worker)
    cluster = commands.add("cluster", _cluster, "look at a cluster", _CLUSTER_EXAMPLES, OUTPUT)
    cluster.add_argument("what", choices=("status", "keys"))
    cluster.add_argument("directory", nargs="?", type=Path, metavar="DIR", help="of new keys")
    add_cluster_options(cluster)
    add_settings(cluster, "suite")


def add_cluster_options(parser: argparse.ArgumentParser) -> None:
    """Let *parser* have cells run on a cluster."""
    parser.add_argument(
        "--cluster",
        metavar="ADDRESS|local:N",
        help="run cells on the workers of this scheduler, or on N started here",
    )
    _add_tls(parser)


def _add_tls(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--tls", metavar="DIR", help="directory with the keys of the cluster")


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"must be a whole number, not {text!r}")
    return int(text)


def cluster_of(args: argparse.Namespace) -> str | None:
    """Return the cluster that is asked for, ``None`` when cells run here."""
    return args.cluster or os.environ.get("HARNESS_CLUSTER") or None


def _tls(args: argparse.Namespace) -> Path | None:
    given = args.tls or os.environ.get("HARNESS_TLS")
    return path_of(given).absolute() if given else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Runner:
    """What runs cells.

    :param parallel: how many are worth having under way at once.
    """

    run: RunCell
    parallel: int


@contextlib.contextmanager
def runner(args: argparse.Namespace, suite: Path, local: RunCell) -> Iterator[Runner]:
    """Yield what runs cells: *local*, or a cluster when one is asked for.

    :raises InputError: when there is no Dask for it, or it is no address.
    :raises InfrastructureError: when nobody answers there.
    """
    address = cluster_of(args)
    if address is None:
        yield Runner(run=local, parallel=parallel_cells(args))
        return
    qemu = qemu_from_setting(getattr(args, "qemu", None))
    if qemu is not None and not address.startswith("local:"):
        raise InputError(
            "--qemu is for this machine, and the cells run on others",
            hint="give it to 'harness worker' there",
        )
    with _extra():
        from harness.cluster.cells import run_cell
        from harness.cluster.connect import connected
    with connected(address, _tls(args), Store(), suite=suite, qemu=qemu) as cluster:
        given = getattr(args, "parallel", None)
        yield Runner(run=functools.partial(run_cell, cluster), parallel=given or cluster.parallel())


@contextlib.contextmanager
def _extra() -> Iterator[None]:
    """Say what is missing when the optional packages are."""
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name not in ("dask", "distributed"):
            raise
        raise InputError(
            "a cluster needs Dask.distributed",
            hint="pip install distributed, or install the harness with its extra [cluster]",
        ) from error


def _worker(args: argparse.Namespace, ui: Ui) -> int:
    with _extra():
        from harness.cluster.host import Host
        from harness.cluster.offer import look_around
        from harness.cluster.security import checked_address, security_of
        from harness.cluster.serve import serve, usual_name
    address = checked_address(args.address)
    security = security_of(address, _tls(args))
    suite, qemu, store = find_suite(args.suite), qemu_from_setting(args.qemu), Store()
    offer = look_around(suite, store, qemu=qemu, guests=args.guests, builds=args.builds)
    name = args.name or usual_name()
    ui.out.print(f"worker {name} of {address}, cache {store.root}", soft_wrap=True)
    ui.out.print(f"  guests: {offer.guests}, builds: {offer.builds}, kvm: {_yes(offer.kvm)}")
    for what, why in offer.lacks.items():
        ui.out.print(f"  no {what}: {why}", markup=False, soft_wrap=True)
    serve(address, security, Host(store, suite, qemu, offer), name=name)
    ui.out.print("the scheduler has ended it")
    return int(ExitCode.PASSED)


def _cluster(args: argparse.Namespace, ui: Ui) -> int:
    if args.what == "keys":
        return _keys(args, ui)
    if args.directory is not None:
        raise InputError(f"'harness cluster status' takes no {args.directory}")
    address = cluster_of(args)
    if address is None:
        raise InputError("no cluster is named", hint="--cluster or HARNESS_CLUSTER does")
    with _extra():
        from harness.cluster.connect import connect
        from harness.cluster.version import version_of
        from harness.cluster.workers import read_workers
    client = connect(address, _tls(args))
    try:
        workers = read_workers(client.scheduler_info(n_workers=-1))
    finally:
        client.close()
    own = version_of(find_suite(args.suite))
    ui.out.print(_table(workers, own) if workers else "there is no worker")
    write_json(args, {"cluster": address, "workers": [_plain(worker, own) for worker in workers]})
    return int(ExitCode.PASSED)


def _keys(args: argparse.Namespace, ui: Ui) -> int:
    if args.directory is None:
        raise InputError("where to?", hint="harness cluster keys DIR")
    with _extra():
        from harness.cluster.security import make_keys
    make_keys(args.directory)
    ui.out.print(
        f"{args.directory}: who has them may run what he likes on every machine of the cluster",
        soft_wrap=True,
    )
    return int(ExitCode.PASSED)


def _table(workers: tuple[WorkerFacts, ...], own: str) -> Table:
    table = Table(box=None, pad_edge=False)
    for column in ("worker", "address", "guests", "builds", "kvm", "running", "state"):
        table.add_column(column, overflow="fold")
    for worker in workers:
        said = _plain(worker, own)
        words = (said[name] for name in ("name", "address", "guests", "builds"))
        row = [*map(str, words), _yes(bool(said["kvm"])), str(said["running"]), str(said["state"])]
        table.add_row(*map(Text, row))
    return table


def _plain(worker: WorkerFacts, own: str) -> dict[str, object]:
    lacks = worker.facts.get("lacks", {})
    state = worker.why_not({f"version:{own}": 1}) or "takes jobs"
    return {
        "name": worker.name,
        "address": worker.address,
        "guests": worker.guests,
        "builds": int(worker.resources.get("build", 0)),
        "kvm": bool(worker.facts.get("kvm")),
        "architectures": list(worker.facts.get("architectures", ())),
        "running": worker.running,
        "state": "; ".join([state, *(f"no {what}: {why}" for what, why in lacks.items())]),
    }


def _yes(value: bool) -> str:
    return "yes" if value else "no"
