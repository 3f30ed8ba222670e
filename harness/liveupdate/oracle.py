# SPDX-License-Identifier: GPL-2.0-only
"""What the next kernel must have of a race that went on while the machine rebooted.

What had returned before the reboot must have been handed over, what had not begun must not, and
what was under way may.  The race's journal says which is which.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from harness.guest.machine import Machine
from harness.results.schedule import Operation, Schedule

MOST_ABSENT = 40
"""Of so many sessions that must not be there it is looked whether they are."""


@dataclass(slots=True)
class Session:
    """A session that may exist.

    :param certain: whether it must.
    :param files: token -> the file's name, and whether it must be there.
    """

    certain: bool
    files: dict[str, tuple[str, bool]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the next kernel must have.

    :param sessions: those that may exist, by name.
    :param absent: names of sessions that must not, the latest of each actor.
    """

    sessions: dict[str, Session]
    absent: tuple[str, ...]


def wanted(schedule: Schedule, records: Sequence[Sequence[str]]) -> Wanted:
    """Return what follows from what each actor did last, as the agent's ``race journal`` has it.

    Actors have sessions and files of their own, by names with ``%a`` in them.
    """
    sessions: dict[str, Session] = {}
    absent: list[str] = []
    for actor, own in enumerate(records):
        gone: dict[str, None] = {}
        for record in own:
            number, op, status = record.split()
            words = tuple(
                word.replace("%r", number).replace("%a", str(actor))
                for word in schedule.actors[actor][int(op)]
            )
            _take(sessions, gone, words, status)
        closed = [name for name in gone if name not in sessions]
        absent += closed[-(MOST_ABSENT // len(records)) :]
    return Wanted(sessions, tuple(absent))


def _take(
    sessions: dict[str, Session], gone: dict[str, None], words: Operation, status: str
) -> None:
    match words:
        case ("session", "create", name):
            if status == "failed":
                gone[name] = None
            else:
                sessions[name] = Session(certain=status == "ok")
        case ("session", "close", name) if name in sessions:
            if status == "ok":
                del sessions[name]
                gone[name] = None
            else:
                _doubt(sessions[name])
        case ("preserve", name, token, file) if name in sessions and status != "failed":
            sessions[name].files[token] = (file, status == "ok")


def _doubt(session: Session) -> None:
    session.certain = False
    session.files = {token: (file, False) for token, (file, _) in session.files.items()}


def missing(machine: Machine, want: Wanted, shape: Sequence[str]) -> list[str]:
    """Take everything out of the kernel that runs now; return what is not as it must be.

    :param shape: what every file looks like, as the agent's ``check`` takes it.
    """
    wrong = [
        f"session {name}, which was closed or refused, is there"
        for name in want.absent
        if machine.agent("session", "retrieve", name)["ok"]
    ]
    for name, session in want.sessions.items():
        if not machine.agent("session", "retrieve", name)["ok"]:
            if session.certain:
                wrong.append(f"session {name} was not handed over")
            continue
        for token, (file, certain) in session.files.items():
            held = f"{name}.{token}"
            if not machine.agent("retrieve", name, token, held)["ok"]:
                if certain:
                    wrong.append(f"{file} of session {name} was not handed over")
            elif not machine.agent("check", held, *shape)["ok"]:
                wrong.append(f"{file} of session {name} came back with other contents")
        wrong += [
            f"session {name} does not {verb}"
            for verb in ("finish", "close")
            if not machine.agent("session", verb, name)["ok"]
        ]
    return wrong
