# SPDX-License-Identifier: GPL-2.0-only
"""Would the tests notice?  Small wrong changes to the kernel, each to be found by a test.

A mutant is a patch for the last position of the series (the suite says where): its subject
says what is wrong, trailers say the rest::

    mutant: a failed open keeps its reference

    Breaks: 5                  the patch of the series whose work it undoes, or "base"
    Profile: debug             where it can be noticed; "default" when left out
    Tests: test_open.py        tests to try first, ids below the suite's tests
    Survives: why              no test can notice it, and why not
"""

from __future__ import annotations

import dataclasses
import email
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.base.errors import ExitCode, SpecError
from harness.base.kernel_name import patch_name
from harness.base.settings import UNTIL_FAILED
from harness.base.spec import Target
from harness.base.suite import Suite
from harness.results.records import CellStatus, Fate
from harness.results.results import Outcome
from harness.run.cell import Cell, CellResult

_TRAILERS = {"Breaks", "Profile", "Tests", "Survives"}
_PREFIX = "mutant: "


UP_TO_FAILURE = (UNTIL_FAILED, "--maxfail=5")
"""What ends a mutant's tests: one that fails, or five without a verdict, since each may hang."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """A wrong change.

    :param name: the file's name without number and suffix.
    :param what: what is wrong, one line.
    :param breaks: the number of a patch, or ``base``; the file of a generated one.
    :param tests: what to try first, ids below the suite's tests; empty for all tests at once.
    :param survives: why no test can notice it; ``None`` when one must.
    """

    name: str
    path: Path
    what: str
    breaks: str
    profile: str
    tests: tuple[str, ...]
    survives: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """A mutant and what the tests said.

    :param killer: the test that noticed it, or ``boot``; ``None`` when none did.
    :param message: what the killer said, or why there is no verdict.
    :param log: where to read on.
    :param seconds: build and tests together.
    """

    mutant: Mutant
    fate: Fate
    killer: str | None
    message: str
    log: Path
    seconds: float


def mutants_of(suite: Suite, names: Sequence[str] = ()) -> tuple[Mutant, ...]:
    """Read a suite's mutants, as :func:`read_mutants` does.

    :raises SpecError: when it has none.
    """
    if suite.mutants is None:
        raise SpecError(
            f"{suite.file} names no mutants", hint="the key 'mutants', a directory of patches"
        )
    return read_mutants(suite.mutants, names)


def read_mutants(directory: Path, names: Sequence[str] = ()) -> tuple[Mutant, ...]:
    """Read the mutants of a directory, by file name.

    :param names: only these; empty for all.
    :raises SpecError: when a file is not what it should be, or a name is unknown.
    """
    found = tuple(_read(path) for path in sorted(directory.glob("*.patch")))
    known = {mutant.name for mutant in found}
    for name in names:
        if name not in known:
            raise SpecError(f"there is no mutant {name!r}", hint=f"they are in {directory}")
    if not found:
        raise SpecError(f"there are no mutants in {directory}")
    return tuple(mutant for mutant in found if not names or mutant.name in names)


def _read(path: Path) -> Mutant:
    mail = email.message_from_string(path.read_text(encoding="utf-8"))
    subject = re.sub(r"^\[PATCH[^]]*\]\s*", "", " ".join(str(mail["Subject"]).split()))
    if not subject.startswith(_PREFIX):
        raise SpecError(f"{path}: the subject must begin with {_PREFIX!r}, not {subject!r}")
    message = str(mail.get_payload()).split("\n---\n")[0]
    trailers: dict[str, str] = {}
    for line in filter(None, (line.strip() for line in message.splitlines())):
        key, colon, value = line.partition(": ")
        if not colon or key not in _TRAILERS or key in trailers or not value.strip():
            raise SpecError(
                f"{path}: {line!r} is no trailer of a mutant",
                hint=f"known, each once: {', '.join(sorted(_TRAILERS))}",
            )
        trailers[key] = value.strip()
    breaks = trailers.get("Breaks", "")
    if breaks != "base" and not breaks.isdecimal():
        raise SpecError(f"{path}: 'Breaks:' must be the number of a patch, or base")
    return Mutant(
        name=patch_name(path),
        path=path,
        what=subject.removeprefix(_PREFIX),
        breaks=breaks,
        profile=trailers.get("Profile", "default"),
        tests=tuple(trailers.get("Tests", "").split()),
        survives=trailers.get("Survives"),
    )


def try_mutant(mutant: Mutant, target: Target, run: Callable[[Cell, str], CellResult]) -> Trial:
    """Find a test that notices *mutant*.

    A test that fails without it as well notices nothing; whether it does is found out for the
    tests that the mutant names, and for all when those let it live.

    :param target: the kernel and the series, at the position that the mutants are for.
    :param run: runs a cell in a directory of that name.
    """
    target = dataclasses.replace(target, profile=mutant.profile)
    mutated = dataclasses.replace(target, extra=(*target.extra, mutant.path))
    seconds = 0.0
    stages = (mutant.tests, ()) if mutant.tests else ((),)
    for tests in stages:
        whole = Cell(target=target, tests=tests, judge="desired")
        label = "-".join(tests) if tests else "all"
        sound = run(whole, f"sound-{mutant.profile}-{re.sub('[^a-z0-9]+', '-', label)}")
        # Further tests cannot make it more dead.
        cell = Cell(target=mutated, tests=tests, judge="desired", pytest_args=UP_TO_FAILURE)
        result = run(cell, mutant.name)
        seconds += result.seconds
        trial = judge(mutant, sound, result, seconds)
        if trial.fate not in (Fate.SURVIVED, Fate.AS_STATED):
            return trial
    return trial


def judge(mutant: Mutant, sound: CellResult, result: CellResult, seconds: float) -> Trial:
    """Say what became of a mutant.

    :param sound: what the tests did without it: one that did not pass then notices nothing.
    :param result: what they did with it.
    """

    def ended(
        fate: Fate, message: str, killer: str | None = None, log: Path | None = None
    ) -> Trial:
        return Trial(
            mutant=mutant,
            fate=fate,
            killer=killer,
            message=message,
            log=log or result.log or result.directory,
            seconds=seconds,
        )

    if sound.status is not CellStatus.TESTED:
        return ended(Fate.NO_VERDICT, f"without the mutant: {sound.message}", log=sound.log)
    if result.status in (CellStatus.NOT_APPLIED, CellStatus.NOT_BUILT):
        return ended(Fate.WRONG, f"{result.status}: {result.message}")
    if result.status is CellStatus.ERROR:
        return ended(Fate.NO_VERDICT, result.message)
    dead = Fate.KILLED if mutant.survives is None else Fate.KILLED_AFTER_ALL
    if result.status is CellStatus.NOT_BOOTED:
        return ended(dead, result.message, "boot")
    passing = {test.id for test in sound.tests if test.outcome is Outcome.PASSED}
    for test in result.tests:
        if test.outcome.is_failure and test.id in passing:
            log = result.directory / test.console if test.console else None
            return ended(dead, test.message, test.id, log)
    for test in result.tests:
        if test.outcome is Outcome.ERROR or (test.outcome.is_failure and not test.shows_bug):
            return ended(Fate.NO_VERDICT, f"{test.id}: {test.message}")
    return ended(*_alive(mutant, sound, "no test notices it"))


def unreached(mutant: Mutant, sound: CellResult, directory: Path) -> Trial:
    """Return what becomes of a mutant whose lines no test reaches."""
    fate, message = _alive(mutant, sound, "no test reaches it")
    return Trial(mutant=mutant, fate=fate, killer=None, message=message, log=directory, seconds=0.0)


def _alive(mutant: Mutant, sound: CellResult, why: str) -> tuple[Fate, str]:
    """Say that nothing notices a mutant, unless a test that might have has no verdict itself."""
    lost = [test for test in sound.tests if test.outcome is Outcome.ERROR]
    if lost:
        return Fate.NO_VERDICT, f"without the mutant: {lost[0].id}: {lost[0].message}"
    if mutant.survives is not None:
        return Fate.AS_STATED, mutant.survives
    return Fate.SURVIVED, why


def exit_code(trials: Iterable[Trial]) -> ExitCode:
    """Return what ``harness mutants`` exits with; what a mutant did weighs more than trouble."""
    fates = {trial.fate for trial in trials}
    if Fate.WRONG in fates:
        return ExitCode.BAD_INPUT
    if fates & {Fate.SURVIVED, Fate.KILLED_AFTER_ALL}:
        return ExitCode.TESTS_FAILED
    return ExitCode.INFRASTRUCTURE if Fate.NO_VERDICT in fates else ExitCode.PASSED
