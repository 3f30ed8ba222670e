# SPDX-License-Identifier: GPL-2.0-only
"""Run what a kernel tree brings (makefiles, host programs, Kconfig's probes) in a sandbox.

Whoever builds a patch runs its author's code.  Bubblewrap (``bwrap(1)``) gives that code
namespaces of its own and a root in which there are the programs of this host, the directories that
it works in, and nothing else: no network (with it go abstract sockets), no home, no other process,
no variable of the environment that may be a secret.  When its first program has ended, or the
harness has, all others are killed with its PID namespace.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import pwd
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.base import command
from harness.base.errors import CommandError, SandboxError
from harness.base.timeouts import HOST
from harness.base.trouble import SANDBOX_END

log = logging.getLogger(__name__)

PROGRAM = "bwrap"

MODES = ("auto", "require", "off")
"""Where it works; or not at all without it; or never."""

_SYSTEM = (
    *("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/nix/store", "/gnu/store"),
    *("/etc/alternatives", "/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d"),
    *("/etc/passwd", "/etc/group", "/etc/nsswitch.conf", "/etc/ccache.conf"),
    "/etc/ssl/openssl.cnf",
)
"""What programs need.  The rest of /etc has the keys of hosts and the tokens of CI runners."""

_TOLD = ("PATH", "HOME", "USER", "LOGNAME", "LANG", "LANGUAGE", "TZ", "TERM", "LD_LIBRARY_PATH")
"""Variables that programs have, besides ``LC_*`` and those of ccache."""

_ENDED_BY_SIGNAL = 128
"""A shell and bwrap add it to the number of the signal that ended a program."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sandbox:
    """Where programs of a tree run.

    :param off: why there is no sandbox, so that they run as any program of ours; empty when there
        is one.
    :param writable: all that they may write to, besides a /tmp of their own.
    :param readable: what else is there; also what lies in *writable*, and is not to be written.
    :param programs: paths of programs besides those on ``PATH``.
    """

    off: str = ""
    writable: tuple[Path, ...] = ()
    readable: tuple[Path, ...] = ()
    programs: tuple[Path, ...] = ()

    def run(
        self,
        argv: Sequence[command.Argument],
        *,
        timeout_s: float,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        log_file: Path | None = None,
        on_line: Callable[[str], None] | None = None,
        check: bool = True,
    ) -> command.Completed:
        """Run *argv* as :func:`harness.base.command.run` does.

        :param cwd: where it runs without a sandbox; in one it is its own /tmp.
        :raises CommandError: as there.
        """
        if self.off:
            return command.run(
                argv,
                timeout_s=timeout_s,
                env=env,
                cwd=cwd,
                log_file=log_file,
                on_line=on_line,
                check=check,
            )
        if command.which(str(argv[0])) is None:
            raise command.not_found((str(argv[0]),))
        words = [*self.wrapper(env or {}), *argv]
        done = command.run(
            words, timeout_s=timeout_s, log_file=log_file, on_line=on_line, check=False
        )
        status = done.returncode
        told = command.Completed(
            argv=tuple(str(word) for word in argv),
            returncode=_ENDED_BY_SIGNAL - status if status > _ENDED_BY_SIGNAL else status,
            stdout=done.stdout,
            stderr=done.stderr,
        )
        if check and told.returncode != 0:
            raise command.failure(told, log_file)
        return told

    def wrapper(self, environment: Mapping[str, str]) -> list[command.Argument]:
        """Return the words that go before a program.

        :param environment: variables that it has besides those that programs need.
        """
        told = _environment() | dict(environment)
        # Not bwrap's --clearenv: what it was started with stays readable, as /proc/1/environ.
        words: list[command.Argument] = ["env", "-i"]
        # An interrupt is for make, which then removes what is half done.  Without its parent it
        # would be killed before that.
        words += ["--ignore-signal=INT,TERM", *(f"{n}={v}" for n, v in told.items())]
        words += [PROGRAM, "--unshare-all", "--die-with-parent"]
        words += ["--cap-drop", "ALL"]
        for name in _SYSTEM:
            if Path(name).is_symlink():
                words += ["--symlink", Path(name).readlink(), name]
            else:
                words += ["--ro-bind-try", name, name]
        # Of much in /proc root is the owner, and needs no capability to write to core_pattern.
        words += ["--proc", "/proc", "--remount-ro", "/proc"]
        words += ["--dev", "/dev", "--tmpfs", "/tmp"]  # noqa: S108 - its own
        for path in (*_program_directories(self.programs), *self.readable):
            words += ["--ro-bind-try", path, path]
        for path in self.writable:
            words += ["--bind", path, path]
        for path in self.readable:
            if any(path.is_relative_to(above) for above in self.writable):
                words += ["--ro-bind-try", path, path]
        words += ["--remount-ro", "/", "--chdir", "/tmp", "--"]  # noqa: S108 - its own
        return [*words, "env", SANDBOX_END]


OPEN = Sandbox(off="it was not asked for")
"""No sandbox: for a tree that is trusted."""


def open_sandbox(
    mode: str,
    *,
    writable: Sequence[Path],
    readable: Sequence[Path] = (),
    programs: Sequence[str] = (),
) -> Sandbox:
    """Return a sandbox, or none where none is to be had and none is required.

    :param mode: one of :data:`MODES`.
    :param programs: what is run there, by name or path: they may lie where nothing else is shown.
    :raises SandboxError: when one is required, and this host has none.
    """
    if mode == "off":
        return Sandbox(off="it was turned off")
    trouble = sandbox_trouble()
    if trouble is not None:
        if mode == "require":
            raise SandboxError(f"there is no sandbox here: {trouble.why}", hint=trouble.hint)
        _warn(trouble.why)
        return Sandbox(off=trouble.why)
    found = (command.which(name) for name in programs)
    return Sandbox(
        writable=tuple(writable),
        readable=tuple(readable),
        programs=tuple(path for path in found if path is not None),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """Why there is no sandbox on this host, and what to do about it."""

    why: str
    hint: str


@functools.cache
def sandbox_trouble() -> Trouble | None:
    """Run a program in a sandbox, once, and say why that does not work; ``None`` when it does."""
    if command.which(PROGRAM) is None:
        return Trouble(why=f"there is no {PROGRAM}", hint="install the package bubblewrap")
    try:
        Sandbox().run(["true"], timeout_s=HOST.tool_s)
    except CommandError as error:
        return Trouble(
            why=f"{PROGRAM} does not work: {error.message.rpartition(': bwrap: ')[2]}",
            hint="it needs user namespaces, and a /proc that it may mount: docs/howto/sandbox.md",
        )
    return None


@functools.cache
def _warn(why: str) -> None:
    log.warning("what the kernel tree runs is in no sandbox: %s", why)


def _environment() -> dict[str, str]:
    """Return the variables that programs of a tree have; no other, since it may be a secret."""
    return {
        name: value
        for name, value in os.environ.items()
        if name in _TOLD
        or name.startswith("LC_")
        # The address of a cache elsewhere may hold a password, and there is no network.
        or (name.startswith("CCACHE_") and "STORAGE" not in name)
    }


def _program_directories(programs: Sequence[Path]) -> list[Path]:
    """Return the directories of programs, and of what belongs to them, outside the system's."""
    directories = [Path(name) for name in os.environ.get("PATH", "").split(os.pathsep) if name]
    for path in programs:
        directories += [path.absolute().parent, path.resolve().parent]
    found = (_installation(path) for path in directories if path.is_absolute() and path.is_dir())
    kept = (path for path in found if path is not None)
    return list(dict.fromkeys(path for path in kept if not _is_system(path)))


def _is_system(path: Path) -> bool:
    return any(path.is_relative_to(name) for name in _SYSTEM)


def _homes() -> set[Path]:
    """Return the user's homes: what the system has, and what the environment says."""
    homes = {os.environ.get("HOME", "")}
    with contextlib.suppress(KeyError):  # in a container, that of a user who has no name
        homes.add(pwd.getpwuid(os.geteuid()).pw_dir)
    return {Path(home) for home in homes if home}


def _installation(directory: Path) -> Path | None:
    """Return what to show for a directory of programs, ``None`` for nothing.

    A compiler in X/bin needs X/lib and others, and what lies in X/shims is run by what lies beside
    it.  No home is shown for its bin, and neither are ~/.local, ~/.cargo and the like, which hold
    passwords.
    """
    homes = _homes()
    if any(home.is_relative_to(directory) for home in homes):
        return None
    above = directory.parent
    if any(home.is_relative_to(above) for home in homes):
        return directory
    hidden = above.parent in homes and above.name.startswith(".")
    if directory.name == "shims" or (directory.name in ("bin", "sbin") and not hidden):
        return above
    return directory
