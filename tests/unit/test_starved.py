# SPDX-License-Identifier: GPL-2.0-only
"""A guest whose processors wait for the host is told from one whose kernel hangs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.guest.starved import ProcessorTime

pytest_plugins = ["pytester"]


class Host:
    """A ``/proc`` with one process of two threads, and the clock that goes with it."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root, self.now, self.waited, self.stolen = root, 1000.0, [0.0, 0.0], 0.0
        monkeypatch.setattr(time, "monotonic", lambda: self.now)
        self.write()

    def write(self) -> None:
        for thread, waited in enumerate(self.waited, 71):
            file = self.root / "71" / "task" / str(thread) / "schedstat"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(f"5000000000 {int(waited * 1e9)} 17\n")
        ticks = int(self.stolen * os.sysconf("SC_CLK_TCK"))
        (self.root / "stat").write_text(f"cpu  1 2 3 4 5 6 7 {ticks} 0 0\ncpu0 1\n")

    def passes(self, seconds: float, *waited: float, stolen: float = 0.0) -> None:
        self.now += seconds
        self.waited = [a + b for a, b in zip(self.waited, waited or (0.0, 0.0), strict=True)]
        self.stolen += stolen
        self.write()

    def watch(self) -> ProcessorTime:
        return ProcessorTime(71, self.root)


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    return Host(tmp_path, monkeypatch)


def test_thread_that_waited_is_starved(host: Host) -> None:
    watch = host.watch()
    host.passes(60, 1.0, 25.0)
    assert watch.why_starved() == "25 of the guest's last 60 s waited for a processor"


def test_thread_that_hardly_waited_is_not_starved(host: Host) -> None:
    watch = host.watch()
    host.passes(60, 3.0, 5.0)
    assert watch.why_starved() is None


def test_time_that_was_stolen_from_the_host_starves(host: Host) -> None:
    watch = host.watch()
    host.passes(60, stolen=30.0 * (os.cpu_count() or 1))
    assert watch.why_starved() == "30 of the guest's last 60 s were stolen from the host"


def test_what_was_long_ago_does_not_count(host: Host) -> None:
    watch = host.watch()
    host.passes(60, 0.0, 50.0)
    for _ in range(20):
        host.passes(10)
        watch.sample()
    assert watch.why_starved() is None


def test_hunger_in_a_long_silence_counts(host: Host) -> None:
    """Nothing was printed for five minutes, so nobody looked."""
    watch = host.watch()
    host.passes(300, 0.0, 150.0)
    assert watch.why_starved() is not None


def test_thread_that_came_later_counts(host: Host) -> None:
    watch = host.watch()
    host.waited.append(0.0)
    host.passes(60, 0.0, 0.0, 30.0)
    assert watch.why_starved() is not None


def test_process_that_is_gone_is_what_it_was_last(host: Host) -> None:
    watch = host.watch()
    host.passes(60, 0.0, 30.0)
    watch.sample()
    for file in host.root.glob("71/task/*/schedstat"):
        file.unlink()
    host.now += 5
    assert watch.why_starved() is not None


def test_process_that_ends_while_it_is_looked_at_is_what_it_was_last(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(_path: Path, _pattern: str) -> Iterator[Path]:
        raise ProcessLookupError  # as readdir(3) does

    watch = host.watch()
    host.passes(60, 1.0, 25.0)
    watch.sample()
    monkeypatch.setattr(Path, "glob", gone)
    host.passes(60)
    assert watch.why_starved() == "25 of the guest's last 60 s waited for a processor"


def test_process_that_never_was_is_not_starved(tmp_path: Path) -> None:
    assert ProcessorTime(71, tmp_path).why_starved() is None


def test_two_busy_processes_on_one_processor_starve() -> None:
    """With the host's own accounts."""
    cpu = min(os.sched_getaffinity(0))
    spin = f"import os\nos.sched_setaffinity(0, {{{cpu}}})\nprint(flush=True)\nwhile True: pass"
    busy = [
        subprocess.Popen([sys.executable, "-c", spin], stdout=subprocess.PIPE) for _ in range(4)
    ]
    try:
        for process in busy:
            assert process.stdout is not None
            process.stdout.readline()
        watch = ProcessorTime(busy[0].pid)
        time.sleep(2.5)
        why = watch.why_starved()
    finally:
        for process in busy:
            process.kill()
            process.communicate()
    assert why is not None
    assert "waited for a processor" in why


# -- a process that is stopped -----------------------------------------------------------------


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "100"]) as process:
        yield process
        process.kill()


def test_process_that_was_stopped_did_not_get_its_time(sleeper: subprocess.Popen[bytes]) -> None:
    watch = ProcessorTime(sleeper.pid)
    with watch.watching():
        assert not watch.is_stopped
        sleeper.send_signal(signal.SIGSTOP)
        time.sleep(5.5)
        assert watch.is_stopped
        sleeper.send_signal(signal.SIGCONT)
        time.sleep(1.5)
        assert not watch.is_stopped
    assert 3.0 <= watch.stopped_s <= 7.0
    assert (watch.why_starved() or "").startswith("QEMU was stopped for ")


def test_process_that_runs_was_not_stopped(sleeper: subprocess.Popen[bytes]) -> None:
    watch = ProcessorTime(sleeper.pid)
    with watch.watching():
        time.sleep(2.5)
    assert watch.stopped_s == 0.0
    assert watch.why_starved() is None


def test_stop_of_everything_counts(
    sleeper: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A container that is paused stops those who look as well."""
    watch = ProcessorTime(sleeper.pid)
    clock = iter([0.0, 21.0, 21.0, 21.0])
    monkeypatch.setattr(time, "monotonic", lambda: next(clock, 22.0))
    monkeypatch.setattr("harness.guest.starved._SAMPLE_S", 0.05)
    with watch.watching():
        while watch.stopped_s == 0.0:
            pass
    assert 20.0 < watch.stopped_s < 22.0


# -- verdicts --------------------------------------------------------------------------------

MACHINE = """
import pytest
from harness.base.errors import GuestTimeout, KernelCrash
from harness.plugin.session import SESSION, _Watch

class Console:
    def __init__(self):
        self.text = ""
    def since(self, mark):
        return self.text[mark:]

class ProcessorTime:
    stopped_s = 7.0
    def why_starved(self):
        return {why!r}

class Machine:
    closed = False
    def __init__(self):
        self.console = Console()
        self.processor_time = ProcessorTime()
    def decode(self, splats):
        return [splat.text for splat in splats]
    def close(self):
        self.closed = True

def test_it(request):
    watch = _Watch(Machine(), stopped_s=7.0)
    request.config.stash[SESSION].watches.append(watch)
    watch.machine.console.text = {text!r}
    {then}
"""
STALL = "[   99.0] rcu: INFO: rcu_sched self-detected stall on CPU\n"
KASAN = "[   99.1] BUG: KASAN: slab-out-of-bounds in f+0x1/0x2\n"
WHY = "25 of the guest's last 60 s waited for a processor"


STOP = "watch.machine.processor_time.stopped_s += 20.4"
STOPPED = "no verdict, QEMU was stopped for 20 s"


def run(pytester: pytest.Pytester, text: str, why: str | None, then: str = "") -> str:
    pytester.makepyfile(MACHINE.format(text=text, why=why, then=then))
    return pytester.runpytest_subprocess("-v", "-p", "no:cacheprovider").stdout.str()


def test_stall_of_a_starved_guest_is_no_verdict(pytester: pytest.Pytester) -> None:
    said = run(pytester, STALL, WHY)
    assert "::test_it ERROR" in said
    assert f"no verdict, rcu: INFO: rcu_sched self-detected stall on CPU: {WHY}" in said


def test_stall_of_a_guest_that_had_its_time_fails(pytester: pytest.Pytester) -> None:
    said = run(pytester, STALL, None)
    assert "::test_it FAILED" in said
    assert "the kernel log shows: rcu: INFO: rcu_sched self-detected stall" in said


def test_other_splat_of_a_starved_guest_fails(pytester: pytest.Pytester) -> None:
    said = run(pytester, STALL + KASAN, WHY)
    assert "::test_it FAILED" in said
    assert "the kernel log shows: BUG: KASAN: slab-out-of-bounds in f" in said


def test_crash_of_a_stall_alone_in_a_starved_guest_is_no_verdict(
    pytester: pytest.Pytester,
) -> None:
    panic = "[   99.2] Kernel panic - not syncing: RCU Stall\n"
    said = run(pytester, STALL + panic, WHY, "raise KernelCrash('RCU Stall')")
    assert "::test_it ERROR" in said


def test_failure_beside_a_stall_of_a_starved_guest_says_so(pytester: pytest.Pytester) -> None:
    said = run(pytester, STALL, WHY, "assert 0")
    assert "::test_it FAILED" in said
    assert WHY in said


def test_failure_while_qemu_was_stopped_is_no_verdict(pytester: pytest.Pytester) -> None:
    said = run(pytester, "", None, f"{STOP}; assert 0, 'it took 21 s'")
    assert "::test_it ERROR" in said
    assert STOPPED in said
    assert "it took 21 s" in said


def test_error_while_qemu_was_stopped_has_the_reason(pytester: pytest.Pytester) -> None:
    said = run(pytester, "", None, f"{STOP}; raise GuestTimeout('no answer')")
    assert "::test_it ERROR" in said
    assert f"{STOPPED}\nno answer" in said.replace("E   ", "")


def test_pass_while_qemu_was_stopped_is_one(pytester: pytest.Pytester) -> None:
    assert "::test_it PASSED" in run(pytester, "", None, STOP)


def test_short_stop_excuses_nothing(pytester: pytest.Pytester) -> None:
    said = run(pytester, "", None, "watch.machine.processor_time.stopped_s += 2; assert 0")
    assert "::test_it FAILED" in said


def test_splat_while_qemu_was_stopped_fails(pytester: pytest.Pytester) -> None:
    said = run(pytester, KASAN, "QEMU was stopped for 20 s", f"{STOP}; assert 0")
    assert "::test_it FAILED" in said


def test_crash_while_qemu_was_stopped_is_one(pytester: pytest.Pytester) -> None:
    said = run(pytester, "", None, f"{STOP}; raise KernelCrash('oops')")
    assert "::test_it CRASHED" in said
