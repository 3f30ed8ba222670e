# SPDX-License-Identifier: GPL-2.0-only
"""Machines that were booted once, and their clones.

A template is a machine's memory in a file and the state of its devices.  A clone maps the file
privately: it is there in a fraction of a second, sees nothing of other clones, and costs the
memory that it writes.  Further templates are made from a clone: what a *step* does to a machine
is done once, and every test that wants a machine in that state gets one of its own.

QEMU leaves memory that is a file out of what it writes (``x-ignore-shared``), so a template is
saved and restored in some hundredths of a second.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from harness.base import command
from harness.base.arch import architecture
from harness.base.errors import CacheError, ClockError, CommandError, MachineError
from harness.base.room import make_room
from harness.base.spec import MachineSpec
from harness.base.store import Store, digest
from harness.base.suite import Preconditions
from harness.base.timeouts import HOST
from harness.guest.accel import qemu_build
from harness.guest.epoch import Saved
from harness.guest.machine import Machine
from harness.guest.qemu_argv import Memory

log = logging.getLogger(__name__)

_KIND = "template"
_RECIPE = 3
_MEMORY, _DEVICES, _FACTS = "memory", "devices", "saved.json"


class MakeMachine(Protocol):
    """Makes a machine of one kernel, not started."""

    def __call__(
        self, log_dir: Path, *, memory: Memory | None = None, saved: Saved | None = None
    ) -> Machine:
        """Return the machine; its logs go to *log_dir*."""


@dataclass(frozen=True, slots=True)
class Step:
    """What brings a machine into the state that a template keeps.

    :param reach: does it; what it returns (JSON can hold it) is kept with the template.
    :param source: the file that holds *reach*: when it changes, the template is made anew.
    """

    reach: Callable[[Machine], Any]
    source: Path
    name: str

    @classmethod
    def of(cls, reach: Callable[..., Any]) -> Step:
        """Return the step that a function is."""
        source = inspect.getsourcefile(reach)
        assert source is not None  # noqa: S101 - functions of tests come from files
        return cls(reach, Path(source), reach.__qualname__)


@dataclass(frozen=True, slots=True)
class Started:
    """A machine that runs.

    :param facts: what the step returned; ``None`` without one.
    :param cloned: whether it was cloned; else it was booted.
    """

    machine: Machine
    facts: Any
    cloned: bool


@dataclass(frozen=True, slots=True)
class _Running:
    machine: Machine
    entry: Path


class Templates:
    """The templates of one kernel on one kind of machine.

    :param make: makes its machines.
    :param spec: what they are made of.
    :param build: the cache key of the kernel they run.
    :param proven: what a machine was asked when it had booted; a clone is not asked again.
    """

    def __init__(
        self, store: Store, make: MakeMachine, spec: MachineSpec, build: str, proven: Preconditions
    ) -> None:
        self._store = store
        self._make = make
        self._spec = spec
        self._build = build
        self._proven = proven

    def key(self, step: Step | None = None) -> str:
        """Return what names a template: everything that it depends on."""
        return digest(self._machine_key, *((step.source, step.name) if step is not None else ()))

    @functools.cached_property
    def _machine_key(self) -> str:
        spec = self._spec
        # A clone under KVM goes on with the processor that the template saw.
        processor = Path("/proc/cpuinfo").read_text().partition("\n\n")[0].splitlines()
        arch = architecture(spec.arch)
        host = [line for line in processor if line.startswith(arch.processor_lines)]
        return digest(
            *(_KIND, _RECIPE, self._build, *spec.initrds, spec.kernel, spec.cmdline),
            *(spec.memory_mib, spec.cpus, spec.accel, spec.extra_args, arch, self._proven),
            *(qemu_build(spec.qemu), host if spec.accel == "kvm" else ""),
        )

    def start(
        self,
        log_dir: Path,
        step: Step | None = None,
        *,
        booting: Callable[[Machine], None] = lambda _machine: None,
    ) -> Started:
        """Return a running machine in the state that *step* leaves it in.

        It is a clone; when there is no template yet, or one that cannot be used, it is made.

        :param booting: told of each machine that is booted before it starts.
        :raises HarnessError: what booting the machine, or the step, raises.
        """
        clone = self._on(step, log_dir, booting, lambda entry: self._clone(entry, log_dir))
        kept = json.loads((clone.entry / _FACTS).read_text())
        return Started(clone.machine, kept["facts"], cloned=True)

    def boot(
        self,
        log_dir: Path,
        step: Step | None = None,
        *,
        booting: Callable[[Machine], None] = lambda _machine: None,
    ) -> Started:
        """Do as :meth:`start` does, without any template."""
        machine = self._make(log_dir)
        booting(machine)
        machine.start()
        try:
            facts = step.reach(machine) if step is not None else None
        except BaseException:
            machine.close()
            raise
        return Started(machine, _as_kept(facts), cloned=False)

    def _on(
        self,
        step: Step | None,
        log_dir: Path,
        booting: Callable[[Machine], None],
        start: Callable[[Path], Machine],
    ) -> _Running:
        """Start a machine on a template, which is made when it is missing or does not work."""
        for _ in range(2):
            entry = self._entry(step, log_dir, booting)
            try:
                return _Running(start(entry), entry)
            except (MachineError, CommandError, OSError) as error:
                # Another process that makes room may have dropped it under our hands.
                failure = str(error)
                log.warning("a machine template cannot be used, and is made anew: %s", error)
                self._store.remove(_KIND, self.key(step))
        raise MachineError(
            f"a template that was just made cannot be used: {failure}",
            hint="--no-templates boots every machine",
            log=log_dir / "qemu.log",
        )

    def _entry(self, step: Step | None, log_dir: Path, booting: Callable[[Machine], None]) -> Path:
        """Return a template's directory; make it when there is none, or a damaged one."""
        key, made = self.key(step), []

        def make(entry: Path) -> None:
            self._make_entry(entry, log_dir, step, booting)
            made.append(key)

        def get_or_make() -> Path:
            waiting = "it makes the same template"
            return self._store.get_or_make(_KIND, key, make, waiting=waiting, unhashed=(_MEMORY,))

        try:
            found = get_or_make()
        except CacheError as error:
            log.warning("a machine template is made anew: %s", error)
            self._store.remove(_KIND, key)
            found = get_or_make()
        if made:
            make_room(self._store)
        return found

    def _clone(self, entry: Path, log_dir: Path) -> Machine:
        return self._resumed(entry, log_dir, Memory(file=entry / _MEMORY, private=True))

    def _resumed(self, entry: Path, log_dir: Path, memory: Memory) -> Machine:
        """Start a machine that goes on from what *entry* holds, in *memory*."""
        kept = json.loads((entry / _FACTS).read_text())
        memory = dataclasses.replace(memory, state=entry / _DEVICES)
        machine = self._make(log_dir, memory=memory, saved=Saved(**kept["saved"]))
        machine.start()
        return machine

    def _make_entry(
        self, entry: Path, log_dir: Path, step: Step | None, booting: Callable[[Machine], None]
    ) -> None:
        machine = (
            self._booted(entry, log_dir, booting)
            if step is None
            else self._stepping(entry, log_dir, booting)
        )
        try:
            facts = step.reach(machine) if step is not None else None
            saved = machine.save(entry / _DEVICES)
        finally:
            machine.close()
        kept = {"saved": saved.as_json(), "facts": facts}
        (entry / _FACTS).write_text(json.dumps(kept, indent=1) + "\n")

    def _booted(self, entry: Path, log_dir: Path, booting: Callable[[Machine], None]) -> Machine:
        """Boot a machine to be saved; one whose clock runs fast is booted once more."""
        for last in (False, True):
            machine = self._make(log_dir / "template", memory=Memory(file=entry / _MEMORY))
            booting(machine)
            try:
                machine.start()
            except ClockError as error:
                if last:
                    raise
                log.warning("a machine is booted again: %s", error)
                (entry / _MEMORY).unlink(missing_ok=True)
            else:
                break
        return machine

    def _stepping(self, entry: Path, log_dir: Path, booting: Callable[[Machine], None]) -> Machine:
        """Return a clone of the booted machine whose memory is a file that can be saved."""

        def start(base: Path) -> Machine:
            command.run(
                ["cp", "--sparse=always", "--reflink=auto", base / _MEMORY, entry / _MEMORY],
                timeout_s=HOST.file_s,
            )
            return self._resumed(base, log_dir / "template", Memory(file=entry / _MEMORY))

        return self._on(None, log_dir / "template", booting, start).machine


def _as_kept(facts: Any) -> Any:
    """Return facts as they come out of a template, so that both ways are alike."""
    return json.loads(json.dumps(facts))
