# SPDX-License-Identifier: GPL-2.0-only
"""The recipes for CI services, held against the schemas and linters that there are for them."""

from __future__ import annotations

import configparser
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.cli import main
from harness.report.plan import to_gitlab
from harness.search.plan import make_jobs

ROOT = Path(__file__).resolve().parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
GITLAB = ROOT / "docs" / "ci" / "gitlab-ci.yml"
UNITS = sorted((ROOT / "docs" / "ci").glob("luo-harness-nightly.*"))
SCRIPTS = sorted(
    path
    for path in (ROOT / "scripts").iterdir()
    if path.is_file() and path.read_bytes().startswith(b"#!/bin/sh")
)


def tool(name: str) -> str:
    """Find a program of the Python environment that the tests run in, or of the system."""
    found = shutil.which(name, path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    assert found is not None, f"there is no {name}: scripts/test installs it"
    return found


def passes(*words: str | Path, **options: Any) -> None:
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, **options)
    assert done.returncode == 0, done.stdout + done.stderr


def steps(workflow: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    for job, facts in yaml.safe_load(workflow.read_text())["jobs"].items():
        for step in facts["steps"]:
            yield job, step


RUNS = [
    pytest.param(step["run"], id=f"{path.stem}-{job}-{step['name'].replace(' ', '-')}")
    for path in WORKFLOWS
    for job, step in steps(path)
    if "run" in step
]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
@pytest.mark.parametrize(
    "schema", ["vendor.github-workflows", "custom.github-workflows-require-timeout"]
)
def test_workflow_is_what_github_takes(path: Path, schema: str) -> None:
    passes(tool("check-jsonschema"), "--builtin-schema", schema, path)


def test_gitlab_recipe_is_what_gitlab_takes() -> None:
    passes(tool("check-jsonschema"), "--builtin-schema", "vendor.gitlab-ci", GITLAB)


def test_planned_pipeline_is_what_gitlab_takes(tmp_path: Path) -> None:
    path = tmp_path / "jobs.yml"
    path.write_text(to_gitlab(make_jobs({}, (0, 1), ("default", "debug"), last=1)))
    passes(tool("check-jsonschema"), "--builtin-schema", "vendor.gitlab-ci", path)


def test_yaml_is_clean() -> None:
    rules = "{extends: relaxed, rules: {line-length: {max: 100}, truthy: disable}}"
    passes(tool("yamllint"), "--strict", "-d", rules, *WORKFLOWS, GITLAB)


def test_auditor_of_workflows_finds_nothing() -> None:
    passes(tool("zizmor"), "--offline", "--no-progress", "--strict-collection", *WORKFLOWS)


@pytest.mark.parametrize("script", RUNS)
def test_shell_of_a_step_is_clean(script: str) -> None:
    passes(tool("shellcheck"), "--shell=sh", "-", input=script)


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_script_is_clean(path: Path) -> None:
    passes(tool("shellcheck"), "-x", path, cwd=ROOT)
    assert os.access(path, os.X_OK)


@pytest.mark.parametrize("script", RUNS)
def test_step_is_a_thin_call(script: str) -> None:
    assert len(script.splitlines()) == 1
    # What it names is there, so that it can be run by hand.
    for name in re.findall(r"(?<!\S)scripts/[\w-]+", script):
        assert os.access(ROOT / name, os.X_OK), name
    assert "${{" not in script


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_results_are_uploaded_also_on_failure(path: Path) -> None:
    uploads = [s for _, s in steps(path) if "upload-artifact" in s.get("uses", "")]
    assert uploads
    assert all(step.get("if") == "always()" for step in uploads)


def test_kvm_is_proven_before_anything_is_tested() -> None:
    (nightly,) = [path for path in WORKFLOWS if path.name == "nightly.yml"]
    said = [step.get("run", "") for job, step in steps(nightly) if job == "test"]
    proof = next(n for n, run in enumerate(said) if "harness doctor --accel" in run)
    assert "scripts/kvm-access" in said[:proof]
    assert proof < next(n for n, run in enumerate(said) if run.startswith("scripts/job"))


# -- systemd -----------------------------------------------------------------------------------


def unit(kind: str) -> configparser.ConfigParser:
    (path,) = [path for path in UNITS if path.suffix == f".{kind}"]
    # A unit may say a key twice, which this parser keeps the last of.
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[method-assign, assignment]
    parser.read_string(path.read_text())
    return parser


def test_timer_starts_the_service_of_its_name() -> None:
    timer = unit("timer")
    assert "Unit" not in timer["Timer"]
    assert timer["Timer"]["Persistent"] == "yes"
    assert timer["Install"]["WantedBy"] == "timers.target"


def test_service_runs_the_nightly_where_it_may_write() -> None:
    service = unit("service")["Service"]
    top = service["WorkingDirectory"]
    assert service["ExecStart"] == f"{top}/scripts/nightly"
    assert os.access(ROOT / "scripts" / "nightly", os.X_OK)
    assert service["ReadWritePaths"] == top
    assert service["SupplementaryGroups"] == "kvm"


def test_units_are_what_systemd_takes(tmp_path: Path) -> None:
    for path in UNITS:
        text = path.read_text().replace("/srv/luo-harness", str(ROOT))
        (tmp_path / path.name).write_text(text)
    files = [tmp_path / path.name for path in UNITS]
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *files], capture_output=True, text=True
    )
    # A value it does not know is a warning only.
    about = [line for line in done.stderr.splitlines() if str(tmp_path) in line]
    assert (done.returncode, about) == (0, []), done.stderr
    (when,) = re.findall(r"OnCalendar=(.*)", (tmp_path / "luo-harness-nightly.timer").read_text())
    passes("systemd-analyze", "calendar", when)


def test_cache_is_where_the_container_has_the_workspace() -> None:
    # The context has the host's path, which the container does not have (actions/runner#2058).
    for path in WORKFLOWS:
        assert "${{ github.workspace" not in path.read_text()


def test_recipes_require_the_sandbox_wherever_something_may_be_built() -> None:
    recipes = [path.read_text() for path in (*WORKFLOWS, GITLAB)]
    recipes.append(to_gitlab(make_jobs({}, (0, 1), ("default",), last=1)))
    for text in recipes:
        caches = re.findall(r"\bHARNESS_CACHE[:=]", text)
        assert len(re.findall(r"\bHARNESS_SANDBOX: require", text)) == len(caches)
    service = (ROOT / "docs/ci/luo-harness-nightly.service").read_text()
    assert "\nEnvironment=HARNESS_SANDBOX=require\n" in service


# -- workers of a cluster ------------------------------------------------------------------------

WORKERS = {
    suffix: ROOT / "docs" / "ci" / f"luo-harness-{name}"
    for suffix, name in (
        ("service", "worker.service"),
        ("sbatch", "workers.sbatch"),
        ("yaml", "workers.yaml"),
    )
}


def test_recipe_of_a_worker_calls_it_as_the_command_takes_it() -> None:
    (container,) = yaml.safe_load(WORKERS["yaml"].read_text())["spec"]["template"]["spec"][
        "containers"
    ]
    (started,) = re.findall(r"^ExecStart=(.*)", WORKERS["service"].read_text(), re.M)
    script = WORKERS["sbatch"].read_text().replace("\\\n", "")
    (submitted,) = re.findall(r"^exec srun (.*)", script, re.M)
    submitted = submitted.replace('"$HARNESS_SCHEDULER"', "tls://build1:8786")
    submitted = re.sub(r'"\$\(\(.*\)\)"', "4", submitted).replace('"slurm-$SLURM_JOB_ID"', "x")
    for words in (container["command"], started.split(), submitted.split()):
        assert Path(words[0].strip('"')).name == "harness"
        args = main._parser().parse_args(words[1:])
        assert args.address == "tls://build1:8786"


def test_script_for_slurm_is_clean() -> None:
    passes("shellcheck", WORKERS["sbatch"])


def test_yaml_for_kubernetes_is_clean() -> None:
    rules = "{extends: default, rules: {line-length: {max: 100}, braces: {max-spaces-inside: 0}}}"
    passes(tool("yamllint"), "--strict", "-d", rules, WORKERS["yaml"])


def test_unit_of_a_worker_is_what_systemd_takes(tmp_path: Path) -> None:
    text = WORKERS["service"].read_text().replace("/srv/luo-harness/.venv/bin/harness", "/bin/true")
    path = tmp_path / WORKERS["service"].name
    path.write_text(text.replace("/srv/luo-harness", str(ROOT)))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", path], capture_output=True, text=True
    )
    about = [line for line in done.stderr.splitlines() if str(tmp_path) in line]
    assert (done.returncode, about) == (0, []), done.stderr
