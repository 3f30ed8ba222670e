# SPDX-License-Identifier: GPL-2.0-only
"""Cells on a cluster: a scheduler of Dask's and workers of ours, processes of this machine.

The kernels are trees that pass for one until somebody configures them, so no cell comes to its
tests: what it comes to goes the same way back.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import cast

import pytest
from patches import write_kernel
from shipped import SUITE

from harness.base import command
from harness.base.errors import InfrastructureError, InputError, SpecError
from harness.base.progress import Progress
from harness.base.room import sweep
from harness.base.settings import target_from_settings
from harness.base.spec import PROJECT_ROOT
from harness.base.store import Store
from harness.base.timeouts import HOST
from harness.cluster import offer, work
from harness.cluster.cells import _CellRun
from harness.cluster.cells import run_cell as run_on_cluster
from harness.cluster.client import Cluster
from harness.cluster.connect import connected
from harness.cluster.host import Host
from harness.cluster.job import Built
from harness.cluster.offer import Offer
from harness.cluster.security import checked_address, make_keys, security_of
from harness.cluster.settings import LOST
from harness.cluster.transfer import (
    PIECE_BYTES,
    Listed,
    Part,
    cut,
    in_pieces,
    join,
    list_files,
    read_parts,
    receive,
)
from harness.cluster.workers import WorkerFacts, check_needs
from harness.kernel.source import git
from harness.results.records import CellStatus
from harness.run.cell import Cell, CellResult
from harness.run.executor import run_cell

SAID = "there is no symbol CONFIG_64BIT in this kernel"
SLOW_S = 60
"""How long reading the Kconfig of a slow tree takes."""


def wait_for(what: Callable[[], bool], seconds: float = 30.0) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if what():
            return True
        time.sleep(0.1)
    return False


# -- a cluster on this machine ------------------------------------------------------------


@dataclasses.dataclass
class Place:
    """A scheduler, and the directory for all that is of its workers."""

    address: str
    directory: Path

    @contextlib.contextmanager
    def worker(self, name: str, *words: str, path: str | None = None) -> Iterator[int]:
        """Have a worker; yield its process id."""
        variables = [f"HARNESS_CACHE={self.directory / name}"]
        variables += [f"PATH={path}"] if path is not None else []
        argv = ["env", *variables, sys.executable, "-m", "harness", "worker", self.address]
        log = self.directory / f"{name}.log"
        with command.spawn([*argv, "--name", name, *words], log_file=log) as process:
            with self.cluster() as cluster:
                there = wait_for(
                    lambda: any(w.name == name and w.facts for w in cluster.workers()), 180
                )
                assert there, log.read_text()
            yield process.pid

    @contextlib.contextmanager
    def cluster(self, name: str = "client") -> Iterator[Cluster]:
        store = Store(self.directory / name)
        with connected(self.address, None, store, suite=PROJECT_ROOT, qemu=None) as found:
            yield found


@pytest.fixture(scope="module")
def scheduler(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    directory = tmp_path_factory.mktemp("cluster")
    log = directory / "scheduler.log"
    argv = [Path(sys.executable).with_name("dask"), "scheduler", "--host", "127.0.0.1"]
    with command.spawn([*argv, "--port", "0", "--no-dashboard"], log_file=log):
        assert wait_for(lambda: "Scheduler at:" in log.read_text(), 60), log.read_text()
        found = re.search(r"Scheduler at:\s+(tcp://\S+)", log.read_text())
        assert found is not None
        yield Place(found[1], directory)


def tree(path: Path, kconfig: str = "\n") -> Path:
    """Make a git tree of two commits."""
    write_kernel(path)
    (path / "Kconfig").write_text(kconfig)
    git(path.parent, "init", "-q", path)
    git(path, "add", ".")
    for subject in ("before", "base"):
        git(path, "commit", "-q", "--allow-empty", "-m", subject)
    return path


def slow_tree(path: Path, seconds: int = SLOW_S) -> Path:
    """Make one whose Kconfig takes so long to read."""
    return tree(path, f'config SLOW\n\tbool\n\tdefault y if "$(shell,sleep {seconds})" = ""\n')


def cell_of(kernel: Path, **settings: str) -> Cell:
    given = {"kernel": str(kernel), "series": "none", "position": "0"} | settings
    return Cell(target=target_from_settings(given.get), tests=("test_boot.py::test_x",))


def run_on(
    cluster: Cluster, cell: Cell, directory: Path, said: list[str] | None = None
) -> CellResult:
    def progress(value: Progress) -> None:
        if said is not None:
            said.append(str(value))

    store = Store(directory.parent / "own-cache")
    return run_on_cluster(cluster, cell, store=store, directory=directory, progress=progress)


def sleeping(seconds: int = SLOW_S) -> list[str]:
    """Return the command lines of this machine that sleep as a slow tree does."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            words = path.read_bytes().split(b"\0")
            if words[:2] == [b"sleep", str(seconds).encode()]:
                found.append(path.parent.name)
    return found


def test_cell_comes_to_the_same_as_here(scheduler: Place, tmp_path: Path) -> None:
    cell = cell_of(tree(tmp_path / "linux"))
    here = run_cell(
        cell, store=Store(tmp_path / "cache"), directory=tmp_path / "here", progress=print
    )
    said: list[str] = []
    with scheduler.worker("same"), scheduler.cluster() as cluster:
        there = run_on(cluster, cell, tmp_path / "there", said)
    assert there.status is CellStatus.NOT_BUILT
    assert SAID in there.message
    assert there.worker == "same"
    own = {"directory": here.directory, "seconds": here.seconds, "log": here.log, "worker": ""}
    assert dataclasses.replace(there, **own) == here
    assert "configuring profile default" in said


def test_suite_s_own_series_is_the_worker_s(scheduler: Place, tmp_path: Path) -> None:
    kernel = tree(tmp_path / "linux")
    made = target_from_settings({"kernel": str(kernel), "position": "11"}.get)
    with scheduler.worker("series"), scheduler.cluster() as cluster:
        found = run_on(cluster, Cell(target=made), tmp_path / "r")
    assert found.status is CellStatus.NOT_APPLIED
    assert "patch 1 " in found.message


def test_user_s_patches_travel(scheduler: Place, tmp_path: Path) -> None:
    kernel = tree(tmp_path / "linux")
    (kernel / "Kconfig").write_text("# changed\n")
    git(kernel, "commit", "-qam", "change")
    patch = tmp_path / "change.patch"
    patch.write_text(git(kernel, "format-patch", "--stdout", "-1").stdout)
    git(kernel, "reset", "-q", "--hard", "HEAD~1")
    cell = cell_of(kernel, series=str(patch), position="1", extra=str(patch))
    with scheduler.worker("patches"), scheduler.cluster() as cluster:
        applied = run_on(cluster, cell_of(kernel, series=str(patch), position="1"), tmp_path / "a")
        twice = run_on(cluster, cell, tmp_path / "b")
    assert applied.status is CellStatus.NOT_BUILT
    assert twice.status is CellStatus.NOT_APPLIED
    assert "already in the tree" in twice.message


def test_kernel_is_built_once_for_all(scheduler: Place, tmp_path: Path) -> None:
    kernel = tree(tmp_path / "linux")
    with (
        scheduler.worker("once-1", "--builds", "1"),
        scheduler.worker("once-2", "--builds", "0"),
        scheduler.cluster() as cluster,
    ):
        found = [run_on(cluster, cell_of(kernel), tmp_path / str(n)) for n in range(3)]
    assert {result.worker for result in found} == {"once-1"}
    assert len({result.message for result in found}) == 1


def test_interrupt_ends_what_runs_on_workers(scheduler: Place, tmp_path: Path) -> None:
    kernel = slow_tree(tmp_path / "linux")
    log = tmp_path / "matrix.log"
    argv = ["env", f"HARNESS_CACHE={tmp_path / 'cache'}", sys.executable, "-m", "harness"]
    argv += ["matrix", "--kernel", str(kernel), "--series", "none", "--profile", "default"]
    argv += ["--cluster", scheduler.address, "--results", str(tmp_path / "results")]
    with scheduler.worker("interrupted"):
        with command.spawn(argv, log_file=log) as process:
            assert wait_for(lambda: bool(sleeping())), log.read_text()
            os.kill(process.pid, signal.SIGINT)
            assert wait_for(lambda: not sleeping(), 40)  # 2 s on a quiet host
            assert process.wait(30) == 130, log.read_text()
        # The worker is there for the next.
        with scheduler.cluster() as cluster:
            found = run_on(cluster, cell_of(tree(tmp_path / "quick")), tmp_path / "next")
    assert found.status is CellStatus.NOT_BUILT


def test_result_that_takes_long_to_fetch_arrives(scheduler: Place) -> None:
    """It is what slow links do; here it takes so long to pickle."""
    slow = (
        "type('Slow', (), {'__reduce__': lambda self: (__import__('time').sleep(3) or int, ())})()"
    )
    with scheduler.worker("far"), scheduler.cluster() as cluster:
        future = cluster.task(eval, slow, key=f"slow-{os.getpid()}", needs={})
        found: list[int] = []
        thread = threading.Thread(target=lambda: found.append(cluster.wait(future, {}, "be slow")))
        thread.start()
        thread.join(20)
        future.release()
        thread.join(20)
    assert found == [0]


def test_results_of_a_worker_that_is_gone_are_made_again(
    scheduler: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is killed when its job is done, and before it has handed anything over."""
    pids: list[int] = []

    def receive_from_the_dead(
        files: Sequence[Listed], read: Callable[[Sequence[Part]], bytes], directory: Path
    ) -> None:
        if pids:
            os.kill(pids.pop(), signal.SIGKILL)
            read([Part("results.json", 0, 1)])
        receive(files, read, directory)

    monkeypatch.setattr("harness.cluster.cells.receive", receive_from_the_dead)
    cell = cell_of(tree(tmp_path / "linux"))
    with scheduler.worker("gone") as pid, scheduler.cluster() as cluster:
        pids.append(pid)
        with under_way(cluster, cell, tmp_path / "r") as found:
            assert wait_for(lambda: not pids, 60)
            with scheduler.worker("again"):
                assert wait_for(lambda: bool(found), 60)
    assert [(result.worker, SAID in result.message) for result in found] == [("again", True)]


def test_kernel_of_a_worker_that_is_gone_is_built_anew(scheduler: Place, tmp_path: Path) -> None:
    lost = Built(
        key="0" * 32,
        worker="gone",
        address="tcp://127.0.0.1:9",
        seconds=1.0,
        cached=False,
        files=(Listed(name="kernel", size_bytes=1, sha256="", mode=0o644),),
    )
    store, cell = Store(tmp_path / "own-cache"), cell_of(tree(tmp_path / "linux"))
    with scheduler.worker("left"), scheduler.cluster() as cluster:
        job = _CellRun(cluster, cell, store, tmp_path / "r", print)._sent(cell)
        needs = {offer.GUEST: 1.0}
        future = cluster.task(work.test, *job, [lost], False, key="test-lost", needs=needs)
        answer = future.result(timeout=60)
    assert SAID in answer.result.message


@contextlib.contextmanager
def under_way(cluster: Cluster, cell: Cell, directory: Path) -> Iterator[list[CellResult]]:
    """Run a cell beside the block; at its end the list has what it came to."""
    found: list[CellResult] = []
    thread = threading.Thread(target=lambda: found.append(run_on(cluster, cell, directory)))
    thread.start()
    try:
        yield found
    finally:
        thread.join(90)


def test_job_of_a_killed_worker_runs_elsewhere(scheduler: Place, tmp_path: Path) -> None:
    # Longer than a worker takes to begin, which may have to find out that KVM does not work.
    cell = cell_of(slow_tree(tmp_path / "linux", 28))
    with (
        scheduler.worker("killed") as pid,
        scheduler.cluster() as cluster,
        under_way(cluster, cell, tmp_path / "r") as found,
    ):
        assert wait_for(lambda: bool(sleeping(28)))
        with scheduler.worker("heir"):
            os.kill(pid, signal.SIGKILL)
            # What the dead one had started goes with it.
            assert wait_for(lambda: len(sleeping(28)) == 1)
            assert wait_for(lambda: bool(found), 60)
    assert [(result.worker, SAID in result.message) for result in found] == [("heir", True)]
    assert sleeping(28) == []


def test_job_whose_workers_are_lost_again_and_again_has_no_verdict(
    scheduler: Place, tmp_path: Path
) -> None:
    """It is begun four times: once, and three times again."""
    cell = cell_of(slow_tree(tmp_path / "linux", 17))
    with scheduler.cluster() as cluster, contextlib.ExitStack() as stack:
        pid = stack.enter_context(scheduler.worker("lost-0"))
        found = stack.enter_context(under_way(cluster, cell, tmp_path / "r"))
        for number in range(1, LOST + 2):
            assert wait_for(lambda: bool(sleeping(17)), 60)
            assert found == []
            os.kill(pid, signal.SIGKILL)
            assert wait_for(lambda: not sleeping(17))
            pid = stack.enter_context(scheduler.worker(f"lost-{number}"))
        assert wait_for(lambda: bool(found), 60)
        assert sleeping(17) == []
    assert found[0].status is CellStatus.ERROR
    assert "no worker lived to build p00-default" in found[0].message


def test_frozen_worker_goes_on(scheduler: Place, tmp_path: Path) -> None:
    cell = cell_of(slow_tree(tmp_path / "linux", 7))
    with (
        scheduler.worker("frozen") as pid,
        scheduler.worker("awake", "--builds", "0"),
        scheduler.cluster() as cluster,
        under_way(cluster, cell, tmp_path / "r") as found,
    ):
        assert wait_for(lambda: bool(sleeping(7)))
        os.kill(pid, signal.SIGSTOP)
        time.sleep(10)
        assert found == []
        os.kill(pid, signal.SIGCONT)
    assert [(result.worker, SAID in result.message) for result in found] == [("frozen", True)]


def test_job_that_does_not_end_in_time_has_no_verdict(
    scheduler: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = dataclasses.replace(HOST, job_s=3.0)
    monkeypatch.setattr("harness.cluster.cells.HOST", short)
    cell = cell_of(slow_tree(tmp_path / "linux", 31))
    with scheduler.worker("slow"), scheduler.cluster() as cluster:
        found = run_on(cluster, cell, tmp_path / "r")
        assert wait_for(lambda: not sleeping(31), 20)
    assert (found.status, found.worker) == (CellStatus.ERROR, "slow")
    assert "did not end within 3 s" in found.message


def test_worker_with_another_suite_is_refused(scheduler: Place, tmp_path: Path) -> None:
    other = tmp_path / "suite"
    shutil.copytree(PROJECT_ROOT / "examples" / "get-options", other)
    cell = cell_of(tree(tmp_path / "linux"))
    with (
        scheduler.worker("other", "--suite", str(other)),
        scheduler.cluster() as cluster,
        pytest.raises(InfrastructureError, match="other: it has another version of the harness"),
    ):
        run_on(cluster, cell, tmp_path / "r")


def test_worker_without_qemu_is_avoided(scheduler: Place, tmp_path: Path) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("gcc", "ld", "make", "git", "env", "setpriv", "bwrap", "python3"):
        found = command.which(name)
        if found is not None:
            (programs / name).symlink_to(found)
    cell = cell_of(tree(tmp_path / "linux"))
    with (
        scheduler.worker("bare", path=str(programs)),
        scheduler.cluster() as cluster,
        pytest.raises(InfrastructureError, match="bare: there is no program qemu-system-"),
    ):
        run_on(cluster, cell, tmp_path / "r")


def test_worker_whose_disk_is_full_takes_no_jobs(scheduler: Place, tmp_path: Path) -> None:
    """It is a file system of its own, too small for any job."""
    log = scheduler.directory / "full.log"
    cache = tmp_path / "small"
    cache.mkdir()
    script = 'mount -t tmpfs -o size=64m none "$HARNESS_CACHE" && exec "$@"'
    argv = ["unshare", "--map-root-user", "--mount", "env", f"HARNESS_CACHE={cache}"]
    argv += ["sh", "-c", script, "sh", sys.executable, "-m", "harness", "worker"]
    cell = cell_of(tree(tmp_path / "linux"))
    with (
        command.spawn([*argv, scheduler.address, "--name", "full"], log_file=log),
        scheduler.cluster() as cluster,
    ):
        full = wait_for(
            lambda: any(w.name == "full" and not w.takes for w in cluster.workers()), 60
        )
        assert full, log.read_text()
        with pytest.raises(InfrastructureError, match=r"full: its disk is full: \d+ MiB free"):
            run_on(cluster, cell, tmp_path / "r")
        with scheduler.worker("roomy"):
            found = run_on(cluster, cell, tmp_path / "r")
    assert found.worker == "roomy"


def test_two_clients_do_not_mix(scheduler: Place, tmp_path: Path) -> None:
    trees = [tree(tmp_path / f"linux-{n}", f"# {n}\nconfig N{n}\n\tbogus\n") for n in range(2)]
    with (
        scheduler.worker("both"),
        scheduler.cluster("client-1") as one,
        scheduler.cluster("client-2") as two,
        under_way(one, cell_of(trees[0]), tmp_path / "r0") as first,
    ):
        second = run_on(two, cell_of(trees[1]), tmp_path / "r1")
    assert ["bogus" in result.message for result in (*first, second)] == [True, True]
    assert str(trees[0]) not in second.message


def test_cluster_is_named_by_the_environment(scheduler: Place, tmp_path: Path) -> None:
    words = ["env", f"HARNESS_CACHE={tmp_path / 'cache'}", f"HARNESS_CLUSTER={scheduler.address}"]
    words += [sys.executable, "-m", "harness"]
    with scheduler.worker("named"):
        status = command.run([*words, "cluster", "status"], timeout_s=120)
        assert re.search(r"\bnamed\b.* takes jobs\b", status.stdout), status.stdout
        matrix = ["matrix", "--kernel", str(tree(tmp_path / "linux")), "--series", "none"]
        matrix += ["--profile", "default", "--results", str(tmp_path / "r")]
        done = command.run([*words, *matrix], timeout_s=300, check=False)
    assert done.returncode == 1, done.stderr
    cells = json.loads((tmp_path / "r" / "matrix.json").read_text())["positions"]
    assert [(cell["status"], cell["worker"]) for cell in cells] == [
        (CellStatus.NOT_BUILT.value, "named")
    ]


@pytest.mark.parametrize(
    ("needs", "said"),
    [
        ({"version:1": 1.0}, "it has another version of the harness or of the suite (0ther)"),
        ({"toolchain:1": 1.0}, "it has another compiler: gcc 99, gcc 98"),
        ({offer.KVM: 1.0}, "there is no /dev/kvm"),
        ({offer.arch_resource("aarch64"): 1.0}, "there is no program qemu-system-aarch64"),
        ({offer.GUEST: 1.0, "arch:riscv64": 1.0}, "it does not offer arch:riscv64"),
    ],
)
def test_job_whose_needs_nobody_meets_is_refused_by_name(
    needs: dict[str, float], said: str
) -> None:
    facts = {
        "version": "0ther",
        "compilers": {"a": "gcc 99", "b": "gcc 98"},
        "lacks": {
            offer.KVM: "there is no /dev/kvm",
            "arch:aarch64": "there is no program qemu-system-aarch64",
        },
    }
    worker = WorkerFacts(
        name="one",
        address="tcp://127.0.0.1:1",
        resources={offer.GUEST: 2.0},
        takes=True,
        running=0,
        facts=facts,
    )
    with pytest.raises(InfrastructureError) as caught:
        check_needs([worker, dataclasses.replace(worker, name="two", facts={})], needs, "test x")
    assert caught.value.message == (
        f"no worker of the cluster can test x:\n  one: {said}\n"
        "  two: it is no worker of the harness: 'harness worker' starts one"
    )
    with pytest.raises(InfrastructureError, match="can test x: there is none"):
        check_needs([], needs, "test x")


# -- keys, and who may talk to whom -----------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:8786", "tcp://127.0.0.1:8786"),
        ("tcp://localhost:1", "tcp://localhost:1"),
        ("tls://127.0.0.1:1", "tls://127.0.0.1:1"),
        ("[::1]:8786", "tcp://[::1]:8786"),
        ("build1:8786", "tls://build1:8786"),
        ("tls://10.0.0.5:8786", "tls://10.0.0.5:8786"),
    ],
)
def test_address_is_in_the_open_for_this_machine_alone(text: str, address: str) -> None:
    assert checked_address(text) == address


@pytest.mark.parametrize("text", ["tcp://10.0.0.5:8786", "tcp://build1:8786", "tcp://0.0.0.0:1"])
def test_address_in_the_open_is_refused(text: str) -> None:
    with pytest.raises(SpecError, match="is in the open"):
        checked_address(text)


@pytest.mark.parametrize("text", ["build1", "http://build1:80", ":8786", "local:0", "tls://x:y"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(SpecError, match="is no address of a scheduler"):
        checked_address(text)


def test_keys_are_for_their_owner_alone_and_never_written_over(tmp_path: Path) -> None:
    make_keys(tmp_path / "keys")
    modes = {path.stat().st_mode & 0o777 for path in (tmp_path / "keys").iterdir()}
    assert modes == {0o600}
    assert (tmp_path / "keys").stat().st_mode & 0o777 == 0o700
    with pytest.raises(InputError, match="is not empty"):
        make_keys(tmp_path / "keys")
    with pytest.raises(InputError, match="TLS needs keys"):
        security_of("tls://build1:8786", None)


def test_tls_lets_in_who_has_the_keys_and_nobody_else(tmp_path: Path) -> None:
    keys, others = tmp_path / "keys", tmp_path / "others"
    make_keys(keys)
    make_keys(others)
    log = tmp_path / "scheduler.log"
    argv = [Path(sys.executable).with_name("dask"), "scheduler", "--host", "tls://127.0.0.1"]
    argv += ["--port", "0", "--no-dashboard", "--tls-ca-file", keys / "ca.pem"]
    argv += ["--tls-cert", keys / "cert.pem", "--tls-key", keys / "key.pem"]
    with command.spawn(argv, log_file=log):
        assert wait_for(lambda: "Scheduler at:" in log.read_text(), 60), log.read_text()
        found = re.search(r"Scheduler at:\s+(tls://\S+)", log.read_text())
        assert found is not None, log.read_text()
        words = ["env", f"HARNESS_CACHE={tmp_path / 'cache'}", sys.executable, "-m", "harness"]
        worker_log = tmp_path / "worker.log"
        worker = [*words, "worker", found[1], "--tls", str(keys)]
        with (
            command.spawn(worker, log_file=worker_log),
            connected(
                found[1], keys, Store(tmp_path / "own"), suite=PROJECT_ROOT, qemu=None
            ) as cluster,
        ):
            assert wait_for(lambda: bool(cluster.workers()), 60), worker_log.read_text()
            assert cluster.workers()[0].address.startswith("tls://")
        status = [*words, "cluster", "status", "--cluster", found[1], "--tls", str(others)]
        done = command.run(status, timeout_s=120, check=False)
        assert done.returncode == 3, done.stderr
        assert "there is no scheduler" in done.stderr


# -- on the way -----------------------------------------------------------------------------


def test_directory_arrives_as_it_was(tmp_path: Path) -> None:
    there, here = tmp_path / "there", tmp_path / "here"
    (there / "below").mkdir(parents=True)
    (there / "large").write_bytes(os.urandom(2 * PIECE_BYTES + 17))
    (there / "below" / "empty").touch()
    (there / "below" / "program").write_bytes(b"#!")
    (there / "below" / "program").chmod(0o755)
    files = list_files(there)
    pieces = [sum(part.length for part in piece) for piece in in_pieces(files)]
    assert pieces == [PIECE_BYTES, PIECE_BYTES, 19]
    receive(files, lambda parts: read_parts(there, parts), here)
    assert list_files(here) == files


def test_what_changed_on_the_way_is_not_taken(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "a").write_text("as it was")
    files = list_files(tmp_path / "there")
    with pytest.raises(InfrastructureError, match="a is not what was sent"):
        receive(files, lambda _parts: b"as it is.", tmp_path / "here")
    parcel, pieces = cut(tmp_path / "there" / "a")
    join(parcel, list(pieces), tmp_path / "joined")
    assert (tmp_path / "joined").read_text() == "as it was"
    with pytest.raises(InfrastructureError, match="changed on the way"):
        join(parcel, [b"as it is."], tmp_path / "joined")


@pytest.mark.parametrize("name", ["../outside", "/outside", "a/../../outside", ""])
def test_no_file_from_elsewhere_is_written_outside(tmp_path: Path, name: str) -> None:
    listed = Listed(name=name, size_bytes=0, sha256="", mode=0o644)
    with pytest.raises(InfrastructureError, match="not taken"):
        receive([listed], lambda _parts: b"", tmp_path / "here")
    assert not (tmp_path / "outside").exists()


def test_what_is_kept_for_the_client_is_no_litter(tmp_path: Path) -> None:
    host = Host(Store(tmp_path), SUITE.root, None, cast(Offer, None))
    directory = tmp_path / "tmp" / "job-a"
    directory.mkdir(parents=True)
    host.leave("a", directory)
    os.utime(directory, (0, 0))
    sweep(Store(tmp_path))
    assert directory.exists()
    host._forget("a")
    assert not directory.exists()
