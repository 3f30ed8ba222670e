# SPDX-License-Identifier: GPL-2.0-only
from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from schemas import complaints as wrong_with

from harness.base.errors import SpecError
from harness.cli import main
from harness.report.plan import to_github, to_gitlab
from harness.search.plan import Stage, make_jobs, make_pair_jobs

ROOT = Path(__file__).resolve().parents[2]


def harness(tmp_path: Path, *words: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if "HARNESS" not in name}
    return subprocess.run(
        [sys.executable, "-m", "harness", *words],
        cwd=ROOT,
        env=clean | {"HARNESS_CACHE": str(tmp_path / "cache")},
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_kernels_are_built_once_for_a_profile() -> None:
    jobs = make_jobs({}, (3, 4), ("default", "debug"), last=11)
    builds = [job for job in jobs if job.stage is Stage.BUILD]
    assert [job.name for job in builds] == ["build-default", "build-debug"]
    # Some tests update between the first and the last position.
    assert builds[0].command == "harness build --positions 0,3..4,11 --profile default"
    tests = [job for job in jobs if job.stage is Stage.TEST]
    assert [(job.name, job.build) for job in tests] == [
        ("test-default-p03", "build-default"),
        ("test-default-p04", "build-default"),
        ("test-debug-p03", "build-debug"),
        ("test-debug-p04", "build-debug"),
    ]


def test_every_position_is_tested_by_one_job() -> None:
    jobs = make_jobs({}, tuple(range(12)), ("default",), last=11, per_job=5)
    tests = [job.positions for job in jobs if job.stage is Stage.TEST]
    assert tests == [(0, 1, 2, 3, 4), (5, 6, 7, 8, 9), (10, 11)]
    assert jobs[-1].name == "test-default-p10-p11"


def test_commands_carry_what_was_asked_for_through_a_shell() -> None:
    settings = {"kernel": "/srv/my linux", "series": "v4.mbx", "accel": "kvm", "qemu": "qemu-11"}
    settings |= {"cmdline": "a b", "templates": "no"}
    build, test = make_jobs(settings, (1,), ("d",), last=1, pytest_args=("-k", "idle or holes"))
    words = shlex.split(test.command)
    given = ["--kernel", "/srv/my linux", "--series", "v4.mbx", "--accel", "kvm"]
    given += ["--qemu", "qemu-11", "--cmdline", "a b", "--no-templates"]
    assert words[:13] == ["harness", "matrix", *given]
    assert words[-3:] == ["--", "-k", "idle or holes"]
    # Nothing is started where kernels are built.
    assert shlex.split(build.command)[2:6] == given[:4]
    assert {"--accel", "--qemu", "--cmdline"}.isdisjoint(shlex.split(build.command))
    assert "--no-templates" not in build.command


def test_jobs_of_two_architectures_have_names_of_their_own() -> None:
    jobs = make_jobs({}, (0,), ("d", "d@x86_64"), last=1)
    assert {job.name: job.build for job in jobs} == {
        "build-d": None,
        "build-d-x86-64": None,
        "test-d-p00": "build-d",
        "test-d-x86-64-p00": "build-d-x86-64",
    }
    assert [" --profile d@x86_64" in job.command for job in jobs] == [False, True, False, True]


def test_pairs_of_kernels_are_a_job_each_and_built_once() -> None:
    settings = {"accel": "kvm", "cc": "gcc-14"}
    build, *tests = make_pair_jobs(settings, ("7.0.13:11", "7.2.13"), ("debug",))
    assert (build.name, build.stage) == ("build-pairs-debug", Stage.BUILD)
    assert build.command == (
        "harness compat --cc gcc-14 --kernels 7.0.13:11 7.2.13 --profile debug --build"
    )
    assert [job.name.removeprefix("pair-debug-") for job in tests] == [
        "7-0-13-11-to-7-0-13-11",
        "7-0-13-11-to-7-2-13",
        "7-2-13-to-7-0-13-11",
        "7-2-13-to-7-2-13",
    ]
    assert {job.build for job in tests} == {build.name}
    assert tests[1].command == (
        "harness compat --accel kvm --cc gcc-14 --from 7.0.13:11 --to 7.2.13 --profile debug"
        f" --results {tests[1].results}"
    )
    assert wrong_with("plan", json.loads(to_github((build, *tests), Stage.TEST))) == []


def test_commands_of_pairs_are_what_the_command_takes() -> None:
    for job in make_pair_jobs({"accel": "kvm", "templates": "no"}, ("a:1", "b+c"), ("debug",)):
        args = main._parser().parse_args(shlex.split(job.command)[1:])
        assert args.command == "compat"


def test_too_many_pairs_are_refused() -> None:
    with pytest.raises(SpecError, match="289 test jobs"):
        make_pair_jobs({}, [str(number) for number in range(17)], ("default",))


@pytest.mark.parametrize("words", [("--kernel", "7.2.13"), ("--positions", "3"), ("--", "-x")])
def test_kernels_of_pairs_exclude_what_chooses_one(tmp_path: Path, words: tuple[str, ...]) -> None:
    done = harness(tmp_path, "plan", "--format", "github", "--kernels", "7.0.13:0", *words)
    assert done.returncode == 2
    assert "and --kernels exclude each other" in done.stderr


def test_too_many_jobs_are_refused_with_a_number_that_fits() -> None:
    with pytest.raises(SpecError, match="600 test jobs") as caught:
        make_jobs({}, tuple(range(300)), ("a", "b"), last=299)
    assert caught.value.hint == "--per-job 3 makes fewer"
    assert len(make_jobs({}, tuple(range(300)), ("a", "b"), last=299, per_job=3)) == 202


def test_github_matrix_is_one_line_of_strings() -> None:
    jobs = make_jobs({}, (0, 1), ("default",), last=1)
    text = to_github(jobs, Stage.TEST)
    assert "\n" not in text
    found = json.loads(text)
    assert wrong_with("plan", found) == []
    assert wrong_with("plan", json.loads(to_github(jobs, Stage.BUILD))) == []
    assert [item["results"] for item in found["include"]] == [
        "results/test-default-p00",
        "results/test-default-p01",
    ]
    assert all(isinstance(v, str) for item in found["include"] for v in item.values())


def test_gitlab_jobs_wait_for_their_own_build_only() -> None:
    pipeline = yaml.safe_load(to_gitlab(make_jobs({}, (0,), ("default", "debug"), last=0)))
    assert pipeline["test-debug-p00"]["needs"] == ["build-debug"]
    assert pipeline["test-debug-p00"]["tags"] == ["kvm"]
    assert pipeline["test-debug-p00"]["artifacts"]["when"] == "always"
    assert pipeline["report"]["dependencies"] == ["test-default-p00", "test-debug-p00"]


def test_command_prints_a_matrix_without_reading_a_tree(tmp_path: Path) -> None:
    words = ("--format", "github", "--positions", "9..11", "--profile", "default")
    done = harness(tmp_path, "plan", *words)
    assert (done.returncode, done.stderr) == (0, "")
    assert [item["positions"] for item in json.loads(done.stdout)["include"]] == ["9", "10", "11"]


def test_qemu_of_the_runners_need_not_be_here(tmp_path: Path) -> None:
    words = ("--format", "github", "--positions", "11", "--profile", "default")
    done = harness(tmp_path, "plan", *words, "--qemu", "/opt/qemu-11/qemu")
    assert done.stderr == ""
    (job,) = json.loads(done.stdout)["include"]
    assert "--qemu /opt/qemu-11/qemu " in job["command"]


@pytest.mark.parametrize(
    ("suite", "profiles"),
    [(ROOT, ["default", "debug"]), (ROOT / "examples/get-options", ["default"])],
)
def test_profiles_are_those_of_the_suite(tmp_path: Path, suite: Path, profiles: list[str]) -> None:
    words = ("--format", "github", "--positions", "1", "--suite", str(suite))
    done = harness(tmp_path, "plan", *words)
    assert (done.returncode, done.stderr) == (0, "")
    assert [item["profile"] for item in json.loads(done.stdout)["include"]] == profiles


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--positions", "12"), "there are no positions 12"),
        (("--profile", "fast"), "no profile 'fast' in "),
        (("--per-job", "0"), "--per-job must be a whole number from 1 on, not '0'"),
        (("--format", "gitlab", "--stage", "test"), "--stage goes with --format github"),
    ],
)
def test_bad_input_is_exit_code_2(tmp_path: Path, words: tuple[str, ...], said: str) -> None:
    done = harness(tmp_path, "plan", "--format", "github", *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"error: {said}" in done.stderr


@pytest.mark.parametrize("stage", ["build", "test"])
def test_every_command_is_one_that_the_harness_takes(tmp_path: Path, stage: str) -> None:
    words = ("--format", "github", "--stage", stage, "--positions", "0", "--profile", "default")
    (job,) = json.loads(harness(tmp_path, "plan", *words, "--accel", "tcg").stdout)["include"]
    # With a tree that is not there it comes past the options, and no further.
    command = [*shlex.split(job["command"])[1:], "--kernel", str(tmp_path / "absent")]
    done = harness(tmp_path, *command)
    assert done.returncode == 2
    assert "there is no " in done.stderr
