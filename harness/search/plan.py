# SPDX-License-Identifier: GPL-2.0-only
"""A matrix cut into jobs for the runners of a CI service.

Kernels are built once, by one job for each tree and profile; what it leaves in the cache goes to
the jobs that test them.  A job is plain data, and its command works as well when typed.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from harness.base.errors import SpecError
from harness.base.positions import positions_text
from harness.base.setting import Group
from harness.base.settings import SETTING
from harness.search.compat import pair_name, pairs_of

MAX_JOBS = 256
"""What GitHub makes of one matrix at most, see "Running variations of jobs in a workflow"."""


class Stage(StrEnum):
    """When a job runs: all of one stage may run at once."""

    BUILD = "build"
    TEST = "test"


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One job.

    :param name: letters, digits and dashes; unique.
    :param positions: what it builds or tests; none when that is no matter of positions.
    :param command: a shell command line, with ``harness`` in the path.
    :param build: the name of the job that builds its kernels; ``None`` when it is one itself.
    :param results: the directory that it leaves, ``None`` when there is none.
    """

    name: str
    stage: Stage
    profile: str
    positions: tuple[int, ...]
    command: str
    build: str | None = None
    results: str | None = None


def make_jobs(
    settings: Mapping[str, str],
    positions: Sequence[int],
    profiles: Sequence[str],
    *,
    last: int,
    per_job: int = 1,
    pytest_args: Sequence[str] = (),
) -> tuple[Job, ...]:
    """Return the jobs of a matrix, those that build first.

    :param settings: by name, as they were given: paths are those of the runner.
    :param last: the last position: some tests update between it and the first.
    :param per_job: positions of one test job, 1 at least.
    :raises SpecError: when a service would not take so many.
    """
    builds = [_build_job(settings, {0, *positions, last}, profile) for profile in profiles]
    groups = [positions[at : at + per_job] for at in range(0, len(positions), per_job)]
    tests = [
        _test_job(settings, tuple(group), build, pytest_args)
        for build in builds
        for group in groups
    ]
    if len(tests) > MAX_JOBS:
        fewest = -(-len(positions) // max(1, MAX_JOBS // len(profiles)))
        raise SpecError(
            f"that makes {len(tests)} test jobs, and a service takes {MAX_JOBS}",
            hint=f"--per-job {fewest} makes fewer",
        )
    return (*builds, *tests)


def make_pair_jobs(
    settings: Mapping[str, str], kernels: Sequence[str], profiles: Sequence[str]
) -> tuple[Job, ...]:
    """Return the jobs of ``harness compat``: one that builds for each profile, one for each pair.

    :param settings: by name, as they were given: paths are those of the runner.
    :param kernels: as :mod:`harness.base.kernel_name` has them.
    :raises SpecError: when a service would not take so many.
    """
    tree = {name: text for name, text in settings.items() if SETTING[name].group is Group.TREE}
    jobs = [
        Job(
            name=_name("build-pairs", profile),
            stage=Stage.BUILD,
            profile=profile,
            positions=(),
            command=_compat(tree, "--kernels", *kernels, "--profile", profile, "--build"),
        )
        for profile in profiles
    ]
    pairs = pairs_of(kernels, kernels)
    if len(pairs) * len(profiles) > MAX_JOBS:
        raise SpecError(
            f"that makes {len(pairs) * len(profiles)} test jobs, and a service takes {MAX_JOBS}",
            hint="name fewer kernels",
        )
    for build in tuple(jobs):
        for pair in pairs:
            name = f"{_name('pair', build.profile)}-{pair_name(pair)}"
            words = ("--from", pair[0], "--to", pair[1], "--profile", build.profile)
            results = f"results/{name}"
            jobs.append(
                Job(
                    name=name,
                    stage=Stage.TEST,
                    profile=build.profile,
                    positions=(),
                    command=_compat(settings, *words, "--results", results),
                    build=build.name,
                    results=results,
                )
            )
    return tuple(jobs)


def _compat(settings: Mapping[str, str], *words: str) -> str:
    return shlex.join(["harness", "compat", *_options(settings), *words])


def _build_job(settings: Mapping[str, str], positions: Iterable[int], profile: str) -> Job:
    # A build starts no machine.
    tree = {name: text for name, text in settings.items() if SETTING[name].group is Group.TREE}
    needed = tuple(sorted(positions))
    words = [*_options(tree), "--positions", positions_text(needed), "--profile", profile]
    return Job(
        name=_name("build", profile),
        stage=Stage.BUILD,
        profile=profile,
        positions=needed,
        command=shlex.join(["harness", "build", *words]),
    )


def _test_job(
    settings: Mapping[str, str], positions: tuple[int, ...], build: Job, pytest_args: Sequence[str]
) -> Job:
    name = _name("test", build.profile, f"p{positions[0]:02}")
    if len(positions) > 1:
        name += f"-p{positions[-1]:02}"
    results = f"results/{name}"
    words = [*_options(settings), "--positions", positions_text(positions)]
    words += ["--profile", build.profile, "--keep-going", "--results", results]
    if pytest_args:
        words += ["--", *pytest_args]
    return Job(
        name=name,
        stage=Stage.TEST,
        profile=build.profile,
        positions=positions,
        command=shlex.join(["harness", "matrix", *words]),
        build=build.name,
        results=results,
    )


def _name(*words: str) -> str:
    """Return a name of letters, digits and dashes."""
    return re.sub(r"[^A-Za-z0-9]+", "-", "-".join(words))


def _options(settings: Mapping[str, str]) -> list[str]:
    found: list[str] = []
    for name, value in settings.items():
        if value != SETTING[name].default:
            found += SETTING[name].words(value)
    return found
