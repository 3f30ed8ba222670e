# SPDX-License-Identifier: GPL-2.0-only
"""Run other programs.  The only module that touches :mod:`subprocess`.

Every program gets a list of arguments, a deadline, ``/dev/null`` as its standard input and a
process group of its own; whatever ends the call (success, the deadline, Ctrl-C) also ends the
group, so nothing is left behind.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import re
import shlex
import shutil
import signal
import subprocess
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from harness.base.errors import CommandError
from harness.base.process_group import group_alive
from harness.base.timeouts import HOST
from harness.base.trouble import raise_for_host

log = logging.getLogger(__name__)

Argument = str | Path

_awaited: dict[subprocess.Popen[bytes], threading.Thread] = {}
"""What threads wait for: an interrupt reaches the main thread alone."""

_interrupted = threading.Event()
_ended: weakref.WeakSet[threading.Thread] = weakref.WeakSet()
"""Threads that were interrupted by themselves."""

_OF_GIT = re.compile(r"GIT_(DIR|WORK_TREE|COMMON_DIR|INDEX_FILE|PREFIX|.*OBJECT_DIRECTOR.*)")
"""What names a repository, whatever ``git -C`` says; git gives it to its hooks."""

_starting = threading.Lock()
"""Held from the look at :data:`_interrupted` until a program that was started is awaited."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Completed:
    """A program that has ended.

    :param stdout: what it printed; empty when the output went to a log file.
    :param stderr: likewise; empty as well when the caller merged it into *stdout*.
    """

    argv: tuple[str, ...]
    returncode: int
    stdout: str
    stderr: str


class Process:
    """A program that is running, owned by the ``with`` block of :func:`spawn`."""

    def __init__(self, popen: subprocess.Popen[bytes]) -> None:
        self._popen = popen

    @property
    def pid(self) -> int:
        """The process id, also the id of its process group."""
        return self._popen.pid

    def poll(self) -> int | None:
        """Return the exit status, or ``None`` while it runs."""
        return self._popen.poll()

    def wait(self, timeout_s: float) -> int | None:
        """Wait up to *timeout_s* seconds; return the exit status or ``None``."""
        try:
            return self._popen.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return None


def which(program: str) -> Path | None:
    """Return the path of *program* on ``PATH`` (or in the system directories), else ``None``."""
    search = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])
    found = shutil.which(program, path=search)
    return Path(found) if found else None


def interrupt(thread: threading.Thread | None = None) -> None:
    """Pass an interrupt on to what other threads wait for; they start nothing more.

    Each of their calls ends as soon as its program has torn down what it holds.

    :param thread: the only one that is meant; ``None`` is all of them.
    """
    with _starting:
        if thread is None:
            _interrupted.set()
        else:
            _ended.add(thread)
        awaited = [popen for popen, waiter in _awaited.items() if thread in (None, waiter)]
    for popen in awaited:
        # The group: a make that is told alone lets its own makes finish.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(popen.pid, signal.SIGINT)


def interrupted() -> bool:
    """Return whether this thread was told to end, by :func:`interrupt`."""
    return _interrupted.is_set() or threading.current_thread() in _ended


def run(
    argv: Sequence[Argument],
    *,
    timeout_s: float,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    input: bytes | None = None,  # noqa: A002 - the name subprocess gives it
    log_file: Path | None = None,
    on_line: Callable[[str], None] | None = None,
    check: bool = True,
) -> Completed:
    """Run *argv* to its end.

    :param timeout_s: seconds after which its process group is ended.
    :param env: variables added to this process's environment.
    :param log_file: where both streams go as they come, appended; ``Completed.stdout`` is then
        empty.
    :param on_line: called with every line of both streams (merged) as it comes, without its
        newline; ``Completed.stderr`` is then empty.
    :param check: raise on a non-zero exit status.
    :raises CommandError: when it cannot be started, passes its deadline, or (with *check*) fails.
    :raises InfrastructureError: when it fails on a full disk or the like, whatever *check* says.
    """
    words = tuple(str(word) for word in argv)
    log.debug("run %s", shlex.join(words))
    streaming = on_line is not None
    logged = log_file.stat().st_size if log_file is not None and log_file.exists() else 0
    with contextlib.ExitStack() as stack:
        sink: IO[bytes] | None = None
        if log_file is not None:
            log_file.parent.mkdir(parents=True, exist_ok=True)
            sink = stack.enter_context(log_file.open("ab"))
        popen = _start(
            words,
            cwd=cwd,
            env=env,
            stdin=subprocess.PIPE if input is not None else subprocess.DEVNULL,
            stdout=subprocess.PIPE if streaming or sink is None else sink,
            stderr=subprocess.STDOUT if streaming or sink is not None else subprocess.PIPE,
            awaited=True,
        )
        try:
            if on_line is not None:
                out, err = _stream(popen, on_line, sink, input, timeout_s), b""
            else:
                out, err = popen.communicate(input, timeout=timeout_s)
        except subprocess.TimeoutExpired as error:
            raise CommandError(
                f"{words[0]} did not end within {timeout_s:.0f} s: {shlex.join(words)}",
                argv=words,
                log=log_file,
            ) from error
        finally:
            _awaited.pop(popen, None)
            _end_group(popen, HOST.grace_s)
            for pipe in (popen.stdin, popen.stdout, popen.stderr):
                if pipe is not None:
                    pipe.close()
    done = Completed(
        argv=words,
        returncode=popen.returncode,
        stdout=(out or b"").decode(errors="replace"),
        stderr=(err or b"").decode(errors="replace"),
    )
    if done.returncode != 0:
        raise_for_host(words, (done.stderr, done.stdout), log_file, logged)
        if check:
            raise failure(done, log_file)
    return done


@contextlib.contextmanager
def spawn(
    argv: Sequence[Argument],
    *,
    log_file: Path,
    pass_fds: Sequence[int] = (),
    grace_s: float = HOST.grace_s,
) -> Iterator[Process]:
    """Run *argv* for the length of the ``with`` block, or as long as this process lives.

    :param log_file: where both its streams go, appended.
    :param pass_fds: descriptors that it inherits.
    :param grace_s: seconds between SIGTERM and SIGKILL at the end of the block.
    :raises CommandError: when it cannot be started.
    """
    words = _tied(argv, signal.SIGKILL)
    log.debug("spawn %s", shlex.join(words))
    log_file.parent.mkdir(parents=True, exist_ok=True)
    with log_file.open("ab") as sink:
        popen = _start(words, stdout=sink, stderr=subprocess.STDOUT, pass_fds=pass_fds)
    try:
        yield Process(popen)
    finally:
        _end_group(popen, grace_s)


def run_attached(
    argv: Sequence[Argument],
    *,
    env: Mapping[str, str] | None = None,
    log_file: Path | None = None,
    on_line: Callable[[str], None] = lambda _line: None,
) -> int:
    """Run *argv* with our standard output and error, and return its exit status.

    It has no deadline: it is for a program that watches its own, such as pytest.  An interrupt is
    passed on exactly once, whoever sent it, and the program is then waited for, so that it can
    tear down what it holds.  When this process is killed the kernel passes on a SIGTERM.

    :param log_file: where both its streams go instead, appended.
    :param on_line: called with each line that goes there, without its newline.
    :raises CommandError: when it cannot be started.
    :raises KeyboardInterrupt: after the program ended because of one.
    """
    words = _tied(argv, signal.SIGTERM)
    log.debug("run %s", shlex.join(words))
    out = subprocess.PIPE if log_file is not None else None
    error = subprocess.STDOUT if log_file is not None else None
    popen = _start(words, stdout=out, stderr=error, env=env, awaited=True)
    reader = None
    try:
        if log_file is not None:
            # A thread, so that last words are taken while it tears down after an interrupt.
            reader = threading.Thread(
                target=_log_lines, args=(popen, log_file, on_line), daemon=True
            )
            reader.start()
        return popen.wait()
    except KeyboardInterrupt:
        popen.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            popen.wait(HOST.unwind_s)
        raise
    finally:
        _awaited.pop(popen, None)
        _end_group(popen, HOST.grace_s)
        if reader is not None:
            reader.join(HOST.grace_s)


def _log_lines(
    popen: subprocess.Popen[bytes], log_file: Path, on_line: Callable[[str], None]
) -> None:
    assert popen.stdout is not None  # noqa: S101 - narrowing for the type checker
    with popen.stdout, log_file.open("ab") as sink:
        _hand_out(popen.stdout, sink, on_line)


def _hand_out(source: IO[bytes], sink: IO[bytes], on_line: Callable[[str], None]) -> None:
    """Write each line of *source* to *sink* as it comes, then call *on_line* with it."""
    for raw in source:
        sink.write(raw)
        # Whoever follows the log sees the line no later than on_line does.
        sink.flush()
        on_line(raw.decode(errors="replace").rstrip("\r\n"))


def _tied(argv: Sequence[Argument], sig: signal.Signals) -> tuple[str, ...]:
    """Return a command line whose program gets a signal when the thread that starts it is gone.

    It is ``PR_SET_PDEATHSIG`` of ``prctl(2)``, through ``setpriv`` of util-linux.
    """
    words = tuple(str(word) for word in argv)
    if which(words[0]) is None:
        raise not_found(words)
    return ("setpriv", "--pdeathsig", sig.name.removeprefix("SIG"), "--", *words)


def _start(
    words: tuple[str, ...],
    *,
    stdout: int | IO[bytes] | None,
    stderr: int | IO[bytes] | None,
    stdin: int = subprocess.DEVNULL,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    pass_fds: Sequence[int] = (),
    awaited: bool = False,
) -> subprocess.Popen[bytes]:
    """Start a program; one that is *awaited* is interrupted with all others."""
    try:
        with _starting:
            if interrupted():
                raise CommandError(f"interrupted before {words[0]} was started", argv=words)
            mine = {key: text for key, text in os.environ.items() if not _OF_GIT.fullmatch(key)}
            popen = subprocess.Popen(
                words,
                cwd=cwd,
                env={**mine, **(env or {})},
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
                pass_fds=tuple(pass_fds),
                start_new_session=True,
            )
            if awaited:
                _awaited[popen] = threading.current_thread()
            return popen
    except FileNotFoundError as error:
        if cwd is not None and not cwd.is_dir():
            raise CommandError(f"no such directory: {cwd}", argv=words) from error
        raise not_found(words) from error
    except OSError as error:
        raise CommandError(f"cannot start {words[0]}: {error}", argv=words) from error


def not_found(words: tuple[str, ...]) -> CommandError:
    """Return the error about a program that is not there."""
    return CommandError(
        f"program not found: {words[0]}",
        argv=words,
        hint="'harness doctor' says what is missing and how to install it",
    )


def failure(done: Completed, log_file: Path | None) -> CommandError:
    """Return the error about a program that failed; *log_file* has what it said, else *done*."""
    last = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()][-3:]
    how = (
        f"was killed by {signal.Signals(-done.returncode).name}"
        if done.returncode < 0
        else f"failed with exit status {done.returncode}"
    )
    detail = f": {' / '.join(last)}" if last else ""
    return CommandError(
        f"{shlex.join(done.argv[:4])}{' ...' if len(done.argv) > 4 else ''} {how}{detail}",
        argv=done.argv,
        returncode=done.returncode,
        log=log_file,
    )


def _stream(
    popen: subprocess.Popen[bytes],
    on_line: Callable[[str], None],
    sink: IO[bytes] | None,
    data: bytes | None,
    timeout_s: float,
) -> bytes:
    """Hand out lines as they come; a timer thread stands guard over the deadline."""
    assert popen.stdout is not None  # noqa: S101 - narrowing for the type checker
    expired = threading.Event()

    def expire() -> None:
        expired.set()
        _end_group(popen, HOST.grace_s)

    guard = threading.Timer(timeout_s, expire)
    guard.daemon = True
    guard.start()
    kept = io.BytesIO()
    try:
        if popen.stdin is not None:
            popen.stdin.write(data or b"")
            popen.stdin.close()
        _hand_out(popen.stdout, sink if sink is not None else kept, on_line)
        popen.wait()
    finally:
        guard.cancel()
        popen.stdout.close()
    if expired.is_set():
        raise subprocess.TimeoutExpired(popen.args, timeout_s)
    return kept.getvalue()


def _end_group(popen: subprocess.Popen[bytes], grace_s: float) -> None:
    """End what is left of the process group that *popen* leads.

    A leader that has been reaped may still have children in its group; its id cannot have been
    given to somebody else while they live, and ``killpg`` says ESRCH when there are none.
    """
    for sig in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(popen.pid, sig)
        except (ProcessLookupError, PermissionError):
            break
        with contextlib.suppress(subprocess.TimeoutExpired):
            popen.wait(grace_s)
        if popen.returncode is not None and not group_alive(popen.pid, grace_s):
            break
    with contextlib.suppress(subprocess.TimeoutExpired):
        popen.wait(grace_s)
