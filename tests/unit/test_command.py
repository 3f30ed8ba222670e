# SPDX-License-Identifier: GPL-2.0-only
"""Programs are run with a deadline and leave nothing behind."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from harness.base import command
from harness.base.errors import CommandError, InfrastructureError


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def wait_gone(pid: int, timeout_s: float = 5.0) -> bool:
    deadline = time.monotonic() + timeout_s
    while alive(pid) and time.monotonic() < deadline:
        time.sleep(0.01)
    return not alive(pid)


def test_run_returns_both_streams_apart() -> None:
    done = command.run(["sh", "-c", "echo out; echo err >&2"], timeout_s=10)
    assert (done.stdout, done.stderr, done.returncode) == ("out\n", "err\n", 0)


@pytest.mark.parametrize("check", [True, False])
@pytest.mark.parametrize("logged", [True, False])
def test_program_that_fails_on_a_full_disk_is_no_verdict(
    tmp_path: Path, *, check: bool, logged: bool
) -> None:
    log_file = tmp_path / "log" if logged else None
    words = ["sh", "-c", "cat /proc/cmdline >/dev/full"]
    with pytest.raises(InfrastructureError, match="the host: No space left on device") as caught:
        command.run(words, timeout_s=10, check=check, log_file=log_file)
    assert not isinstance(caught.value, CommandError)
    assert caught.value.log == log_file


def test_program_that_can_log_nothing_on_a_full_disk_is_no_verdict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = shutil.disk_usage(tmp_path)._replace(free=4096)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: full)
    with pytest.raises(InfrastructureError, match="the disk is full"):
        command.run(["false"], timeout_s=10, log_file=tmp_path / "log")


def test_words_of_a_full_disk_in_an_older_log_or_in_a_source_are_not_taken_for_one(
    tmp_path: Path,
) -> None:
    (tmp_path / "log").write_text("cat: write error: No space left on device\n")
    quoted = "echo 'x.c:3: error: pr_err(\"No space left on device\");'; exit 1"
    with pytest.raises(CommandError):
        command.run(["sh", "-c", quoted], timeout_s=10, log_file=tmp_path / "log")


def test_full_disk_in_gits_own_words_is_no_verdict() -> None:
    said = "fatal: sha1 file index.lock write error. Out of diskspace"
    with pytest.raises(InfrastructureError, match="the host: Out of diskspace"):
        command.run(["sh", "-c", f"echo '{said}' >&2; exit 128"], timeout_s=10)


@pytest.mark.parametrize(
    "said",
    [
        "gcc: fatal error: Killed signal terminated program cc1",
        "collect2: fatal error: ld terminated with signal 9 [Killed]",
        "make[2]: *** [scripts/Makefile.vmlinux:72: vmlinux.unstripped] Error 137",
        "make[1]: *** [Makefile:1277: vmlinux] Killed",
        "clang: error: unable to execute command: Killed",
        "cc1: out of memory allocating 65536 bytes after a total of 1056768 bytes",
        "ld: final link failed: memory exhausted",
        "make: vfork: Resource temporarily unavailable",
    ],
)
def test_compiler_that_the_host_ends_is_no_verdict(said: str) -> None:
    with pytest.raises(InfrastructureError, match="the host: "):
        command.run(["sh", "-c", f"echo '{said}' >&2; exit 1"], timeout_s=10)


@pytest.mark.parametrize(
    "said", ["make[1]: *** [Makefile:1277: vmlinux] Error 1", "a.c:1: error: Killed is undeclared"]
)
def test_compiler_that_refuses_is_a_verdict(said: str) -> None:
    with pytest.raises(CommandError, match="status 1"):
        command.run(["sh", "-c", f"echo '{said}' >&2; exit 1"], timeout_s=10)


def test_repository_of_whoever_called_is_not_that_of_programs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("GIT_DIR", "GIT_INDEX_FILE", "GIT_ALTERNATE_OBJECT_DIRECTORIES"):
        monkeypatch.setenv(name, "theirs")
    monkeypatch.setenv("GIT_CONFIG_COUNT", "0")
    found = command.run(["env"], timeout_s=10, env={"GIT_INDEX_FILE": "ours"}).stdout
    lines = [line for line in found.splitlines() if line.startswith("GIT_")]
    assert [line for line in lines if "theirs" in line] == []
    assert {"GIT_CONFIG_COUNT=0", "GIT_INDEX_FILE=ours"} <= set(lines)


def test_run_reads_nothing_from_our_standard_input() -> None:
    assert command.run(["cat"], timeout_s=10).stdout == ""


def test_run_does_not_wait_for_zombies_that_nobody_reaps() -> None:
    # In the group is the child of a process that has left it, sleeps, and waits for no child.
    code = """if 1:
        import os, time
        if not os.fork():
            if os.fork():
                os.setsid()
                print(flush=True)
                os.closerange(0, 3)
                time.sleep(9)
            os._exit(0)
        time.sleep(0.5)
    """
    began = time.monotonic()
    command.run([sys.executable, "-c", code], timeout_s=20)
    assert time.monotonic() - began < 4


def test_run_feeds_input() -> None:
    assert command.run(["cat"], timeout_s=10, input=b"fed").stdout == "fed"


def test_run_failure_carries_status_and_last_words() -> None:
    with pytest.raises(CommandError, match="exit status 7: the reason") as caught:
        command.run(["sh", "-c", "echo the reason >&2; exit 7"], timeout_s=10)
    assert caught.value.returncode == 7


def test_run_failure_without_check_is_returned() -> None:
    assert command.run(["false"], timeout_s=10, check=False).returncode == 1


def test_run_names_the_signal_that_killed_it() -> None:
    with pytest.raises(CommandError, match="killed by SIGKILL"):
        command.run(["sh", "-c", "kill -KILL $$"], timeout_s=10)


def test_run_missing_program_points_to_doctor() -> None:
    with pytest.raises(CommandError, match="program not found: no-such-program") as caught:
        command.run(["no-such-program"], timeout_s=10)
    assert caught.value.hint is not None
    assert "harness doctor" in caught.value.hint


def test_run_missing_directory_is_not_a_missing_program(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="no such directory"):
        command.run(["true"], timeout_s=10, cwd=tmp_path / "absent")


@pytest.mark.parametrize("streaming", [False, True])
def test_run_deadline_ends_the_whole_process_group(tmp_path: Path, streaming: bool) -> None:
    pid_file = tmp_path / "pid"
    script = f"sleep 100 & echo $! >{pid_file}; wait"
    with pytest.raises(CommandError, match="did not end within"):
        command.run(
            ["sh", "-c", script],
            timeout_s=0.5,
            on_line=(lambda line: None) if streaming else None,
        )
    assert wait_gone(int(pid_file.read_text()))


def test_run_log_file_is_appended(tmp_path: Path) -> None:
    log_file = tmp_path / "deep" / "log"
    command.run(["sh", "-c", "echo one; echo two >&2"], timeout_s=10, log_file=log_file)
    command.run(["echo", "three"], timeout_s=10, log_file=log_file)
    assert log_file.read_text() == "one\ntwo\nthree\n"


def test_run_on_line_sees_each_line_and_the_log_gets_all(tmp_path: Path) -> None:
    seen: list[str] = []
    command.run(
        ["sh", "-c", "echo a; echo b >&2"],
        timeout_s=10,
        on_line=seen.append,
        log_file=tmp_path / "log",
    )
    assert seen == ["a", "b"]
    assert (tmp_path / "log").read_text() == "a\nb\n"


def test_run_interrupted_by_callback_ends_the_program(tmp_path: Path) -> None:
    pids: list[int] = []

    def interrupt(line: str) -> None:
        pids.append(int(line))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        command.run(["sh", "-c", "echo $$; exec sleep 100"], timeout_s=60, on_line=interrupt)
    assert wait_gone(pids[0])


def test_spawn_ends_with_its_block(tmp_path: Path) -> None:
    with command.spawn(["sleep", "100"], log_file=tmp_path / "log") as process:
        assert process.poll() is None
        assert alive(process.pid)
    assert wait_gone(process.pid)


def test_spawn_kills_what_ignores_sigterm(tmp_path: Path) -> None:
    log_file = tmp_path / "log"
    script = "trap '' TERM; echo ready; while :; do sleep 0.05; done"
    with command.spawn(["sh", "-c", script], log_file=log_file, grace_s=0.3) as process:
        deadline = time.monotonic() + 5
        while "ready" not in log_file.read_text() and time.monotonic() < deadline:
            time.sleep(0.01)
    assert process.poll() == -signal.SIGKILL


def test_spawned_program_dies_with_its_parent(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    child = os.fork()
    if child == 0:
        with command.spawn(
            ["sh", "-c", f"echo $$ >{pid_file}; exec sleep 100"], log_file=tmp_path / "log"
        ):
            while not (pid_file.exists() and pid_file.read_text().strip()):
                time.sleep(0.01)
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    assert wait_gone(int(pid_file.read_text()))


def test_attached_program_is_told_when_its_parent_is_killed(tmp_path: Path) -> None:
    pid_file, told = tmp_path / "pid", tmp_path / "told"
    child = os.fork()
    if child == 0:
        script = (
            f"trap 'touch {told}; exit' TERM; echo $$ >{pid_file}; while :; do sleep 0.05; done"
        )
        command.run_attached(["sh", "-c", script])
    deadline = time.monotonic() + 5
    while not (pid_file.exists() and pid_file.read_text()) and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert wait_gone(int(pid_file.read_text()))
    assert told.exists()


def test_spawn_missing_program_is_an_error_before_it_starts(tmp_path: Path) -> None:
    with (
        pytest.raises(CommandError, match="program not found"),
        command.spawn(["no-such-program"], log_file=tmp_path / "log"),
    ):
        pass


def test_run_attached_logs_and_tells_each_line(tmp_path: Path) -> None:
    lines: list[str] = []
    script = "echo one; echo two >&2; exit 3"
    log = tmp_path / "log"
    status = command.run_attached(["sh", "-c", script], log_file=log, on_line=lines.append)
    assert (status, lines, log.read_text()) == (3, ["one", "two"], "one\ntwo\n")


def test_run_attached_takes_last_words_after_an_interrupt(tmp_path: Path) -> None:
    script = (
        "trap 'sleep 0.2; echo torn down; exit 0' INT; echo ready; while :; do sleep 0.05; done"
    )
    log = tmp_path / "log"

    def interrupt(line: str) -> None:
        if line == "ready":
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        command.run_attached(["sh", "-c", script], log_file=log, on_line=interrupt)
    assert log.read_text() == "ready\ntorn down\n"


def test_interrupt_reaches_what_is_just_being_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "_interrupted", threading.Event())
    started = threading.Event()

    class Slow(subprocess.Popen[bytes]):
        def __init__(self, *args: object, **options: object) -> None:
            super().__init__(*args, **options)  # type: ignore[call-overload]
            started.set()
            time.sleep(0.3)

    monkeypatch.setattr(command.subprocess, "Popen", Slow)
    ended: list[object] = []

    def work() -> None:
        try:
            command.run(["sleep", "30"], timeout_s=20)
        except CommandError as error:
            ended.append(error.returncode)

    thread = threading.Thread(target=work)
    thread.start()
    assert started.wait(10)
    command.interrupt()
    thread.join(10)
    assert ended == [-signal.SIGINT]


def test_interrupt_ends_what_other_threads_wait_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "_interrupted", threading.Event())
    log = tmp_path / "log"
    # As make does: told alone, it would wait for what it started.
    # What it started is no shell: one that is told while it forks waits for its child.
    child = "import time; print('ready', flush=True); time.sleep(100)"
    child = f"import signal; signal.signal(signal.SIGINT, signal.SIG_DFL); {child}"
    parent = f"trap 'exit 3' INT; {sys.executable} -c \"{child}\"; echo too late"
    ended: list[object] = []

    def work() -> None:
        try:
            command.run(["sh", "-c", parent], timeout_s=60, log_file=log)
        except CommandError as error:
            ended.append(error.returncode)

    thread = threading.Thread(target=work)
    thread.start()
    deadline = time.monotonic() + 10
    while not (log.exists() and "ready" in log.read_text()) and time.monotonic() < deadline:
        time.sleep(0.01)
    command.interrupt()
    thread.join(10)
    assert not thread.is_alive()
    assert ended == [3]
    assert log.read_text() == "ready\n"
    with pytest.raises(CommandError, match="interrupted before sleep was started"):
        command.run(["sleep", "1"], timeout_s=10)
