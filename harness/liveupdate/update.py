# SPDX-License-Identifier: GPL-2.0-only
"""A live update from the outside: preserve -> load -> go -> retrieve -> verify -> finish.

::

    update = LiveUpdate(machine)
    update.preserve_memfds(Memfd("data", size=1 << 20))
    update.execute()
    update.retrieve()
    update.verify()
    update.finish()

:meth:`LiveUpdate.execute` proves that what happened was a live update: the boot id changed while
the QEMU process did not, the new kernel found the handover and the orchestrator's data, and it is
the release that was asked for.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

from harness.base.errors import KexecError
from harness.base.timeouts import GUEST
from harness.guest.epoch import Epoch
from harness.guest.kexec import go, load_next
from harness.guest.machine import Machine
from harness.kernel.build import KernelBuild
from harness.liveupdate.messages import handover_found, live_update_number
from harness.liveupdate.results import UpdateResult

log = logging.getLogger(__name__)

_FINGERPRINT = ("size", "offset", "seals", "sha256")


@dataclass(frozen=True, slots=True)
class Memfd:
    """A memfd to make and preserve (``images/guest/README.md`` has the shapes).

    :param size: in bytes; 0 is allowed.
    :param pattern: ``"full"``, ``"sparse"`` (one page in 64 KiB) or ``"zero"`` (holes only).
    :param offset: the file position, in bytes.
    :param seals: such as ``("write", "shrink")``.
    :param session: ``None`` is the update's default session.
    :param token: ``None`` takes the next free number.
    """

    name: str
    size: int = 0
    seed: int = 1
    pattern: str = "full"
    offset: int = 0
    seals: tuple[str, ...] = ()
    session: str | None = None
    token: int | None = None

    @property
    def shape(self) -> tuple[object, ...]:
        """Options of the agent's ``memfd create`` and ``check``."""
        shape = ("--size", self.size, "--seed", self.seed, "--pattern", self.pattern)
        return (
            *shape,
            "--offset",
            self.offset,
            *(("--seal", ",".join(self.seals)) * bool(self.seals)),
        )

    @property
    def command(self) -> tuple[object, ...]:
        """The agent command that makes it."""
        return ("memfd", "create", self.name, *self.shape)


@dataclass(frozen=True, slots=True, kw_only=True)
class Preserved:
    """A file that a session holds.

    :param name: under which the agent keeps it.
    :param fingerprint: size, offset, seals and SHA-256 when it was preserved.
    """

    session: str
    token: int
    name: str
    fingerprint: Mapping[str, Any]


class NothingReceived(KexecError):  # noqa: N818 - reads better where it is raised
    """The next kernel runs, and has taken nothing over."""


class LiveUpdate:
    """One live update of one machine.

    :param machine: stays the caller's.
    :param session: the session that files go to when none is named.
    """

    def __init__(self, machine: Machine, session: str = "harness") -> None:
        self.machine = machine
        self.default_session = session
        self.preserved: list[Preserved] = []
        self.stages: dict[str, float] = {}
        self.before: Epoch | None = None
        self.after: Epoch | None = None
        self.number: int | None = None
        self._sessions: list[str] = []
        self._compared: set[str] = set()
        self._verified: set[str] = set()
        self._kept = False

    # -- in the first kernel -----------------------------------------------------------------

    def create_session(self, name: str) -> None:
        """Create a LUO session, once."""
        if name not in self._sessions:
            self.machine.must("session", "create", name)
            self._sessions.append(name)

    def preserve(self, name: str, *, session: str | None = None, token: int | None = None) -> None:
        """Preserve a file that the agent holds.

        :param token: ``None`` takes the next free number.
        :raises AssertionError: when the kernel refuses.
        """
        into = self.default_session if session is None else session
        with self._stage("preserve"):
            self.create_session(into)
            self._preserve([(into, name, token)])

    def preserve_memfds(self, *memfds: Memfd) -> None:
        """Make memfds filled with patterns, and preserve them; one round trip for all.

        :raises AssertionError: when the kernel refuses one.
        """
        sessions = [
            self.default_session if memfd.session is None else memfd.session for memfd in memfds
        ]
        new = [name for name in dict.fromkeys(sessions) if name not in self._sessions]
        with self._stage("preserve"):
            self.machine.must_all(
                [("session", "create", name) for name in new] + [memfd.command for memfd in memfds],
                timeout_s=GUEST.batch_s,
            )
            self._sessions += new
            self._preserve(
                [
                    (into, memfd.name, memfd.token)
                    for into, memfd in zip(sessions, memfds, strict=True)
                ]
            )

    def _preserve(self, files: list[tuple[str, str, int | None]]) -> None:
        """Preserve files (session, name, token), and note what each of them is."""
        commands: list[tuple[object, ...]] = []
        tokens = []
        for number, (into, name, token) in enumerate(files, len(self.preserved) + 1):
            tokens.append(number if token is None else token)
            commands += [("verify", name), ("preserve", into, tokens[-1], name)]
        answers = self.machine.must_all(commands, timeout_s=GUEST.batch_s)
        self.preserved += [
            Preserved(
                session=into,
                token=token,
                name=name,
                fingerprint={key: answer.get(key) for key in _FINGERPRINT},
            )
            for (into, name, _), token, answer in zip(files, tokens, answers[::2], strict=True)
        ]

    # -- the update --------------------------------------------------------------------------

    def execute(self, build: KernelBuild | None = None) -> None:
        """Load the next kernel and go there.

        :param build: the next kernel; ``None`` updates to the same build.
        """
        self.load(build)
        self.go()

    def load(self, build: KernelBuild | None = None) -> None:
        """Hand the next kernel to the guest and load it.

        :raises KexecError: when the running kernel does not accept it; EADDRNOTAVAIL means that
            the KHO scratch area is too small (``kho_scratch=``).
        """
        self._next = build or self.machine.epoch.build
        with self._stage("load"):
            load_next(self.machine, self._next)

    def go(self) -> None:
        """Reboot into the loaded kernel, wait for it, and prove that it was a live update.

        :raises KexecRefused: when the first kernel refuses, and runs on.
        :raises KernelCrash: when the first or the second kernel panics; the message says which.
        :raises NothingReceived: when the next kernel runs, and has taken nothing over.
        :raises KexecError: when something else happened than a live update.
        """
        jump = go(self.machine, self._next)
        self.before, self.after = jump.before, jump.after
        self.stages["blackout"] = jump.blackout_s
        text = self.machine.console.since(jump.mark)
        wrong = None
        if not handover_found(text):
            wrong = "the next kernel found no kexec handover data"
        number = live_update_number(text)
        if wrong is None and number is None:
            wrong = "the next kernel's live update orchestrator received nothing"
        if wrong is not None:
            raise NothingReceived(f"no live update: {wrong}", log=self.machine.console.log_file)
        self.number = number

    @property
    def sessions(self) -> tuple[str, ...]:
        """The names of the sessions."""
        return tuple(self._sessions)

    # -- in the second kernel ----------------------------------------------------------------

    def retrieve(self) -> None:
        """Retrieve every session and every file that was preserved.

        :raises AssertionError: naming the first that the kernel does not give back.
        """
        sessions = [("session", "retrieve", name) for name in self._sessions]
        files = [("retrieve", item.session, item.token, item.name) for item in self.preserved]
        with self._stage("retrieve"):
            self.machine.must_all([*sessions, *files], timeout_s=GUEST.batch_s)

    def verify(self, *names: str) -> None:
        """Compare retrieved files with what was preserved.

        :param names: which files; none means all of them.
        :raises AssertionError: naming the first file that differs in size, offset, seals or
            content, and in what.
        """
        items = [item for item in self.preserved if not names or item.name in names]
        self._compared.update(item.name for item in items)
        with self._stage("verify"):
            answers = self.machine.must_all(
                [("verify", item.name) for item in items], timeout_s=GUEST.batch_s
            )
        for item, answer in zip(items, answers, strict=True):
            for key in _FINGERPRINT:
                was, now = item.fingerprint[key], answer.get(key)
                if was != now:
                    raise AssertionError(
                        f"{item.name}: {key} was {was!r}, is {now!r} after the update"
                    )
            self._verified.add(item.name)

    def finish(self) -> None:
        """Finish and close every session."""
        with self._stage("finish"):
            self.machine.must_all(
                [
                    ("session", verb, name)
                    for name in self._sessions
                    for verb in ("finish", "close")
                ],
                timeout_s=GUEST.batch_s,
            )

    # -- what is left of it ------------------------------------------------------------------

    @property
    def facts(self) -> dict[str, Any]:
        """What :meth:`resume` needs, as JSON can hold it; the update is in its second kernel."""
        if self.before is None or self.after is None:
            raise KexecError("the live update has not come to its second kernel")
        return {
            "session": self.default_session,
            "sessions": self._sessions,
            "preserved": [asdict(item) for item in self.preserved],
            "stages": self.stages,
            "epochs": [self.before.number, self.after.number],
            "number": self.number,
        }

    @classmethod
    def resume(cls, machine: Machine, facts: Mapping[str, Any], *, kept: bool) -> LiveUpdate:
        """Return the update that *facts* are of, to go on with it in *machine*.

        :param machine: the machine, or a clone of it; stays the caller's.
        :param kept: whether it is a clone.
        """
        update = cls(machine, facts["session"])
        update._sessions = list(facts["sessions"])
        update.preserved = [Preserved(**item) for item in facts["preserved"]]
        update.stages = dict(facts["stages"])
        update.before, update.after = (machine.epochs[number] for number in facts["epochs"])
        update.number = facts["number"]
        update._kept = kept
        return update

    def result(self, *, test: str) -> UpdateResult | None:
        """Return the update as evidence; ``None`` when it never reached the second kernel."""
        if self.before is None or self.after is None or self.number is None:
            return None
        return UpdateResult(
            test=test,
            from_release=self.before.release,
            to_release=self.after.release,
            from_boot_id=self.before.boot_id,
            to_boot_id=self.after.boot_id,
            qemu_pid=self.machine.qemu_pid,
            number=self.number,
            preserved=len(self.preserved),
            compared=len(self._compared),
            verified=len(self._verified),
            stages=dict(self.stages),
            kept=self._kept,
        )

    @contextmanager
    def _stage(self, name: str) -> Iterator[None]:
        started = time.monotonic()
        try:
            yield
        finally:
            self.stages[name] = self.stages.get(name, 0.0) + time.monotonic() - started
