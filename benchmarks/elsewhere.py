# SPDX-License-Identifier: GPL-2.0-only
"""A matrix here and on workers of this machine: the same verdicts, and how much longer?

``python -m benchmarks.elsewhere`` runs the command with real guests twice, here and on a scheduler
with workers that have caches of their own, and compares matrix.json and time.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import shlex
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.base import command
from harness.base.errors import ExitCode, InfrastructureError
from harness.base.store import Store
from harness.base.terminal import Ui
from harness.base.timeouts import HOST
from harness.cli.main import run_with_ui
from harness.cli.options import COMMON

EXAMPLES = """\
examples:
  python -m benchmarks.elsewhere -- --profile default
  python -m benchmarks.elsewhere -- --profile default --positions 0,11 -- -k test_memfd
  python -m benchmarks.elsewhere --workers 3 --harm -- --positions 0,11 -- -k test_memfd
  python -m benchmarks.elsewhere --beside "--series none" -- --positions 0 -- -k test_memfd
"""

HELP = """\
What stands behind -- goes to 'harness matrix', which runs with --fresh and --keep-going. Workers
have the caches of 'local:N', so kernels and templates are made the first time only: run it again
for times. The exit code is 1 where verdicts differ, something is left running, or it takes longer
than it may.
"""

_TIMES = ("seconds", "cached", "directory", "worker")
FROZEN_S = 60.0
_SHOWN = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """A matrix that was run.

    :param record: of matrix.json.
    """

    name: str
    code: int
    seconds: float
    record: dict[str, Any]


def main(argv: list[str]) -> int:
    """Run both, compare them, and return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.elsewhere",
        description=HELP,
        epilog=EXAMPLES,
        parents=[COMMON],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--workers", metavar="N", type=int, default=2, help="(default: 2)")
    parser.add_argument(
        "--harm",
        action="store_true",
        help="kill the first worker with a guest, and freeze the next with one for a minute",
    )
    parser.add_argument(
        "--beside", metavar="WORDS", help="run a second matrix at once, with these words as well"
    )
    parser.add_argument(
        "--limit", metavar="X", type=float, help="how many times as long it may take"
    )
    parser.add_argument("--results", metavar="DIR", default="results/elsewhere")
    parser.add_argument("words", nargs="*", metavar="WORD", help="of 'harness matrix'")
    parser.set_defaults(run=_elsewhere)
    return run_with_ui(parser.parse_args(argv))


def _elsewhere(args: argparse.Namespace, ui: Ui) -> int:
    asked = {"one": [*args.words]}
    if args.beside is not None:
        asked["beside"] = [*shlex.split(args.beside), *args.words]
    directory = Path(args.results).absolute()
    here = {name: run_matrix(f"{name}-here", words, directory) for name, words in asked.items()}
    there: dict[str, Ran] = {}
    killed: list[int] = []
    with _cluster(args.workers, directory) as (address, workers):

        def run(name: str, words: Sequence[str]) -> None:
            there[name] = run_matrix(f"{name}-there", words, directory, cluster=address)

        threads = [threading.Thread(target=run, args=both) for both in asked.items()]
        for thread in threads:
            thread.start()
        if args.harm:
            alive = [thread.is_alive for thread in threads]
            for said in harm(workers, killed, lambda: any(is_alive() for is_alive in alive)):
                ui.out.print(said, markup=False)
        for thread in threads:
            thread.join()
    wrong = [f"left running: {said}" for said in left_running(args.workers, killed)]
    for name, ran in here.items():
        other = there[name]
        lucky = lucky_tests(directory / f"{name}-here")
        wrong += [f"{name}: {said}" for said in differences(ran.record, other.record, lucky)]
        if ran.code != other.code:
            wrong.append(f"{name}: exit code {ran.code} here, {other.code} there")
        times = other.seconds / ran.seconds
        cells = ", ".join(f"{c['position']}: {c['worker']}" for c in other.record["positions"])
        tests = sum(len(cell["tests"]) for cell in ran.record["positions"])
        ui.out.print(
            f"{name}: {tests} tests; here {ran.seconds:.0f} s, there {other.seconds:.0f} s: "
            f"{times:.2f} times as long ({cells})",
            markup=False,
            soft_wrap=True,
        )
        if args.limit is not None and times > args.limit:
            wrong.append(f"{name}: {times:.2f} times as long, {args.limit:g} at most")
    for said in wrong:
        ui.out.print(said, style="bold red", markup=False, soft_wrap=True)
    ui.out.print("not the same" if wrong else "the same verdicts, nothing left running")
    return int(ExitCode.TESTS_FAILED if wrong else ExitCode.PASSED)


def run_matrix(name: str, words: Sequence[str], directory: Path, *, cluster: str = "") -> Ran:
    """Run ``harness matrix``; its results are in a directory of its name.

    :raises InfrastructureError: when it leaves no matrix.json.
    """
    results, log = directory / name, directory / f"{name}.log"
    own = ["--fresh", "--keep-going", "--results", str(results)]
    argv = [sys.executable, "-m", "harness", "matrix", *own]
    argv += ["--cluster", cluster] if cluster else []
    file = results / "matrix.json"
    file.unlink(missing_ok=True)
    log.parent.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    history = {"HARNESS_HISTORY": str(directory / "history.sqlite")}
    code = command.run_attached([*argv, *words], env=history, log_file=log)
    seconds = time.monotonic() - began
    if not file.exists():
        raise InfrastructureError(f"harness matrix ended with {code}", log=log)
    return Ran(name=name, code=code, seconds=seconds, record=json.loads(file.read_text()))


# -- workers -------------------------------------------------------------------------------


def caches(count: int) -> list[Path]:
    """Return the caches of the workers, those of ``local:N``."""
    return [Store().root / "cluster" / str(number) for number in range(1, count + 1)]


@contextlib.contextmanager
def _cluster(count: int, directory: Path) -> Iterator[tuple[str, list[int]]]:
    """Have a scheduler and workers; yield its address, and their process ids."""
    log = directory / "scheduler.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    log.unlink(missing_ok=True)
    argv = [str(Path(sys.executable).with_name("dask")), "scheduler", "--host", "127.0.0.1"]
    with contextlib.ExitStack() as stack:
        stack.enter_context(command.spawn([*argv, "--port", "0", "--no-dashboard"], log_file=log))
        address = str(_wait(lambda: re.search(r"tcp://\S+", log.read_text()), log)[0])
        pids, guests = [], max(1, 2 // count)
        for number, cache in enumerate(caches(count), 1):
            words = ["env", f"HARNESS_CACHE={cache}", sys.executable, "-m", "harness", "worker"]
            # As with local:N, few CPUs are for one build at a time.
            words += [address, "--name", f"local-{number}", "--guests", str(guests)]
            words += ["--builds", str(int(number == 1 or bool(os.environ.get("HARNESS_STORE"))))]
            log = directory / f"worker-{number}.log"
            worker = stack.enter_context(command.spawn(words, log_file=log, grace_s=HOST.unwind_s))
            pids.append(worker.pid)
        status = [sys.executable, "-m", "harness", "cluster", "status", "--cluster", address]

        def there() -> bool:
            said = command.run(status, timeout_s=HOST.compile_s, check=False).stdout
            return said.count("takes jobs") == count

        _wait(there, log)
        yield address, pids


def _wait(what: Callable[[], Any], log: Path) -> Any:
    deadline = time.monotonic() + HOST.compile_s
    while time.monotonic() < deadline:
        if found := what():
            return found
        time.sleep(HOST.poll_s)
    raise InfrastructureError("no scheduler, or not all of its workers", log=log)


def harm(workers: Sequence[int], killed: list[int], goes_on: Callable[[], bool]) -> Iterator[str]:
    """Kill a worker in the middle of a test, freeze another and all that it has started.

    Yields what was done, for people.

    :param killed: gets the number of the worker that was killed.
    """
    first = _first_with_guest(workers, goes_on)
    if first is None:
        yield "no worker had a guest: nothing was harmed"
        return
    os.kill(first, signal.SIGKILL)
    killed.append(workers.index(first) + 1)
    yield f"killed worker {killed[0]}"
    frozen = _first_with_guest([pid for pid in workers if pid != first], goes_on)
    if frozen is None:
        yield "no other worker had a guest: none was frozen"
        return
    everything = [frozen, *_children(frozen)]
    for pid in everything:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)
    time.sleep(FROZEN_S)
    for pid in everything[::-1]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)
    yield f"froze worker {workers.index(frozen) + 1} and {len(everything) - 1} programs of its"


def _first_with_guest(workers: Sequence[int], goes_on: Callable[[], bool]) -> int | None:
    """Wait for a worker in the middle of a test: its pytest runs, and has a guest."""
    while goes_on():
        for worker in workers:
            words = [_words(pid) for pid in _children(worker)]
            testing = any("pytest" in each for each in words)
            if testing and any(each.startswith("qemu-system") for each in words):
                time.sleep(3 * HOST.poll_s)
                return worker
        time.sleep(HOST.poll_s / 4)
    return None


def _children(parent: int) -> list[int]:
    """Return the processes below one, from the top."""
    parents: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            above = int(path.read_text().rpartition(")")[2].split()[1])
            parents.setdefault(above, []).append(int(path.parent.name))
    found = list(parents.get(parent, ()))
    for pid in found:
        found += parents.get(pid, ())
    return found


def _words(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""


def left_running(count: int, killed: Sequence[int] = ()) -> list[str]:
    """Return the command lines that name a worker's cache, and what jobs have left in it.

    :param killed: workers that could not tidy up; their cache does so with its next build.
    """
    roots = [str(cache) for cache in caches(count)]
    pids = [int(path.name) for path in Path("/proc").glob("[0-9]*")]
    said = [words for words in map(_words, pids) if any(f"{root}/" in words for root in roots)]
    for number, cache in enumerate(caches(count), 1):
        said += [str(path) for path in cache.glob("tmp/job-*") if number not in killed]
    return said


# -- the same? -----------------------------------------------------------------------------


def lucky_tests(directory: Path) -> frozenset[str]:
    """Return the tests that may do either at some position: two runs need not agree on them."""
    return frozenset(
        test["id"]
        for file in directory.glob("*/results.json")
        for test in json.loads(file.read_text())["tests"]
        if test["expected"] == "either"
    )


def differences(
    here: dict[str, Any], there: dict[str, Any], lucky: Set[str] = frozenset()
) -> list[str]:
    """Return in what two matrices differ, times, workers and *lucky* tests aside."""
    return list(_differ("", _compared(here, lucky), _compared(there, lucky)))


def _compared(value: Any, lucky: Set[str]) -> Any:
    if isinstance(value, dict):
        if "positions" in value:
            by = sorted(value["positions"], key=lambda c: (c["profile"], c["position"]))
            value = value | {"positions": by}
        left_out = {*_TIMES, *lucky}
        return {
            name: _compared(item, lucky) for name, item in value.items() if name not in left_out
        }
    if isinstance(value, list):
        return [
            _compared(item, lucky)
            for item in value
            if not (isinstance(item, dict) and item.get("test") in lucky)
        ]
    return value


def _differ(where: str, here: Any, there: Any) -> Iterator[str]:
    if isinstance(here, dict) and isinstance(there, dict):
        for name in sorted(here.keys() | there.keys()):
            yield from _differ(f"{where}.{name}", here.get(name), there.get(name))
    elif isinstance(here, list) and isinstance(there, list) and len(here) == len(there):
        for number, both in enumerate(zip(here, there, strict=True)):
            yield from _differ(f"{where}[{number}]", *both)
    elif isinstance(here, list) and isinstance(there, list):
        for side, items, others in (("here", here, there), ("there", there, here)):
            for item in items:
                if item not in others:
                    yield f"{where.lstrip('.')}: {str(item)[:_SHOWN]} only {side}"
    elif here != there:
        yield f"{where.lstrip('.')}: {here!r} here, {there!r} there"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
