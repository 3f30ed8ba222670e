# SPDX-License-Identifier: GPL-2.0-only
"""Mutants that are generated: which there are at a position, which compile, what tries them.

All of a profile are in one kernel (:mod:`harness.search.schemata`), and each is tried by the tests
that reach its lines (:mod:`harness.search.reach`), up to the first that notices it.
"""

from __future__ import annotations

import dataclasses
import fnmatch
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.base.errors import BuildError, InputError, SpecError
from harness.base.mutation import MutationSpec
from harness.base.progress import OnProgress
from harness.base.spec import Target
from harness.base.store import Store, digest
from harness.base.strict_yaml import read_yaml_list
from harness.base.suite import Suite
from harness.kernel.source import git
from harness.results.expectation import Expected
from harness.results.results import Outcome, TestResult
from harness.run.cell import Cell, function_of
from harness.run.pipeline import Pipeline
from harness.search.mutants import UP_TO_FAILURE, Mutant
from harness.search.mutate import Mutation, mutations_of
from harness.search.schemata import PARAMETER, all_in_one, at_fault

NO_TEMPLATES = "--harness-templates=no"
"""For pytest: a template would serve one mutant, and stay in the cache for nothing."""

_KIND = "mutants"
_ROUNDS = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Generated:
    """The mutants of a position.

    :param sources: the files that they change, by path.
    :param mutations: by number; the number is what ``harness_mutant=`` says.
    :param profiles: number -> where it can be noticed.
    :param equivalent: number -> why no test can notice it.
    :param at_reboot: lines that run on the way to the next kernel, or while it boots: path and
        number.
    """

    sources: Mapping[str, bytes]
    mutations: Mapping[int, Mutation]
    profiles: Mapping[int, str]
    equivalent: Mapping[int, str]
    at_reboot: frozenset[tuple[str, int]] = frozenset()

    def of(self, profile: str) -> dict[int, Mutation]:
        """Return those of a profile."""
        return {n: m for n, m in self.mutations.items() if self.profiles[n] == profile}


def mutation_of(suite: Suite) -> MutationSpec:
    """Return what is changed systematically.

    :raises SpecError: when the suite does not say.
    """
    if suite.mutation is None:
        raise SpecError(
            f"{suite.file} does not say what is to be changed",
            hint="the key 'mutation' with 'files', paths in the kernel tree",
        )
    return suite.mutation


def generate(pipeline: Pipeline) -> Generated:
    """Return every mutant of the position of *pipeline*, whether it compiles or not.

    :raises SpecError: when the suite names a file that the tree does not have, or an equivalent
        mutant that there is not.
    """
    spec, commit = mutation_of(pipeline.suite), pipeline.position().commit
    sources = {}
    for name in spec.files:
        shown = git(pipeline.source.repo, "show", f"{commit}:{name}", check=False)
        if shown.returncode != 0:
            raise SpecError(f"{pipeline.suite.file}: the tree has no {name} to change")
        sources[name] = shown.stdout.encode()
    found = [m for name, text in sources.items() for m in mutations_of(name, text, spec)]
    mutations = dict(enumerate(found, 1))
    profiles = {n: spec.profile_of(m.name, m.operator) for n, m in mutations.items()}
    return Generated(
        sources=sources,
        mutations=mutations,
        profiles=profiles,
        equivalent=read_equivalent(spec.equivalent, mutations),
        at_reboot=frozenset(
            (mutation.file, line)
            for mutation in found
            if spec.runs_at_reboot(mutation.function.name)
            for line in mutation.lines
        ),
    )


def read_equivalent(file: Path | None, mutations: Mapping[int, Mutation]) -> dict[int, str]:
    """Read which mutants no test can notice, and why.

    :param file: a list of mappings with ``mutant``, a name with ``*`` for any text, and ``reason``.
    :raises SpecError: when it names a mutant that there is not: the tree has changed.
    """
    found: dict[int, str] = {}
    for item in read_yaml_list(file, "the list of equivalent mutants") if file else ():
        with item:
            pattern, reason = item.value("mutant", str), item.value("reason", str)
            hits = [n for n, m in mutations.items() if fnmatch.fnmatchcase(m.name, pattern)]
            if not hits:
                raise item.error("mutant", f"there is no generated mutant {pattern!r}")
            found |= dict.fromkeys(hits, " ".join(reason.split()))
    return found


def chosen(
    generated: Generated,
    names: Sequence[str],
    profile: str | None,
    shard: tuple[int, int],
    *,
    equivalent: bool = False,
) -> list[int]:
    """Return the numbers of the mutants that are asked for.

    :param names: with ``*`` for any text; empty for all.
    :param profile: only those; ``None`` for all.
    :param shard: which part of how many, from 1 on; parts are of the same size and kind, those
        that no test can notice counted in.
    :param equivalent: those that no test can notice as well, which survive every test there is;
        one whose whole name is asked for is among them either way.
    :raises InputError: when a name fits none.
    """
    for name in names:
        if not any(fnmatch.fnmatchcase(m.name, name) for m in generated.mutations.values()):
            raise InputError(
                f"there is no generated mutant {name!r}", hint="--list shows them; * is any text"
            )
    found = [
        number
        for number, mutation in generated.mutations.items()
        if (not names or any(fnmatch.fnmatchcase(mutation.name, name) for name in names))
        and profile in (None, generated.profiles[number])
    ]
    part, of = shard
    return [
        number
        for number in found[part - 1 :: of]
        if equivalent
        or number not in generated.equivalent
        or generated.mutations[number].name in names
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Schemata:
    """A kernel with all mutants of a profile that compile.

    :param target: has the patch on top.
    :param wrong: the numbers of those that do not compile, with the compiler's words.
    """

    target: Target
    wrong: Mapping[int, str]


def build_all(
    generated: Generated, target: Target, store: Store, directory: Path, progress: OnProgress
) -> Schemata:
    """Build the kernel with all mutants of the target's profile, without those that do not compile.

    :param directory: where the patch goes.
    :raises BuildError: when it is not the mutants that do not compile.
    """
    kept = generated.of(target.profile)
    patch = directory / f"mutants-{target.profile}.patch"
    target = dataclasses.replace(target, extra=(*target.extra, patch))
    whole = all_in_one(kept, generated.sources)
    wrong = _known_wrong(store, whole)
    for _ in range(_ROUNDS):
        kept = {number: m for number, m in kept.items() if number not in wrong}
        patch.write_text(all_in_one(kept, generated.sources))
        try:
            Pipeline(target, store, progress).build()
        except BuildError as error:
            log = error.log.read_text(errors="replace") if error.log is not None else ""
            fault = at_fault(log, kept, generated.sources)
            if not fault:
                raise
            wrong |= fault
            continue
        _note_wrong(store, whole, wrong)
        return Schemata(target=target, wrong=wrong)
    raise BuildError(f"after {_ROUNDS} rounds there are mutants left that do not compile")


def _known_wrong(store: Store, whole: str) -> dict[int, str]:
    entry = store.get(_KIND, digest(_KIND, whole))
    if entry is None:
        return {}
    found = json.loads((entry / "wrong.json").read_text())
    store.let_go(entry)
    return {int(number): words for number, words in found.items()}


def _note_wrong(store: Store, whole: str, wrong: Mapping[int, str]) -> None:
    with store.produce(_KIND, digest(_KIND, whole)) as entry:
        (entry / "wrong.json").write_text(json.dumps(wrong))


def mutant_of(
    generated: Generated, number: int, patch: Path, tests: tuple[str, ...] = ()
) -> Mutant:
    """Return a generated mutant as one that is tried.

    :param patch: that of the kernel with all of them.
    :param tests: those that reach it.
    """
    mutation = generated.mutations[number]
    return Mutant(
        name=mutation.name,
        path=patch,
        what=mutation.what,
        breaks=mutation.file.rpartition("/")[2],
        profile=generated.profiles[number],
        tests=tests,
        survives=generated.equivalent.get(number),
    )


def sound_cell(schemata: Schemata) -> Cell:
    """Return the cell of all tests on the kernel with every mutant in it and none of them on.

    It is run as the mutants are: a test that asks about templates has nothing to say of them.
    """
    return Cell(target=schemata.target, judge="desired", pytest_args=(NO_TEMPLATES,))


def mutant_cell(schemata: Schemata, number: int, tests: tuple[str, ...]) -> Cell:
    """Return the cell that tries one mutant, up to the first test that fails."""
    return Cell(
        target=schemata.target,
        tests=tests,
        judge="desired",
        pytest_args=(*UP_TO_FAILURE, NO_TEMPLATES),
        cmdline=f"{PARAMETER}={number}",
    )


def seconds_of(sound: Iterable[TestResult]) -> dict[str, float]:
    """Return how long each test takes that can notice a mutant.

    One that fails without any mutant cannot, nor one that does so now and then.

    :param sound: what the tests came to on the kernel of :func:`sound_cell`.
    """
    return {
        test.id: test.seconds
        for test in sound
        if test.outcome is Outcome.PASSED
        and test.expected is not Expected.EITHER
        and function_of(test.id) == test.id
    }
