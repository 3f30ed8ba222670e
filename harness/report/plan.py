# SPDX-License-Identifier: GPL-2.0-only
"""Jobs drawn for the services that run them: a matrix for GitHub, a pipeline for GitLab."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

import yaml

from harness import NAME
from harness.base.positions import positions_text
from harness.search.plan import Job, Stage

CACHE = f".cache/{NAME}"
"""``HARNESS_CACHE`` of the jobs, below the checkout: services keep nothing from elsewhere."""

_RETRIED = {"max": 1, "exit_codes": [3]}
"""Trouble of the runner is worth another try; a verdict is not."""


def to_github(jobs: Iterable[Job], stage: Stage) -> str:
    """Return the jobs of a stage as one line of JSON: a ``strategy.matrix`` for ``fromJSON``."""
    return json.dumps({"include": [_github_job(job) for job in jobs if job.stage is stage]})


def _github_job(job: Job) -> dict[str, str]:
    """Return the job as GitHub's matrix holds it: strings that a workflow can refer to."""
    found = {
        "name": job.name,
        "profile": job.profile,
        "positions": positions_text(job.positions),
        "command": job.command,
    }
    if job.build is not None:
        found["build"] = job.build
    if job.results is not None:
        found["results"] = job.results
    return found


def to_gitlab(jobs: Sequence[Job]) -> str:
    """Return the jobs as YAML: a child pipeline, with a last job that sums all results up."""
    pipeline: dict[str, Any] = {
        "stages": [*(stage.value for stage in Stage), "report"],
        "default": {
            "image": "debian:bookworm",
            "before_script": ["scripts/setup", 'export PATH="$PWD/.venv/bin:$PATH"'],
            "retry": _RETRIED,
        },
        "variables": {
            "HARNESS_CACHE": f"$CI_PROJECT_DIR/{CACHE}",
            "HARNESS_SANDBOX": "require",
        },
    }
    for job in jobs:
        pipeline[job.name] = _gitlab_job(job)
    pipeline["report"] = {
        "stage": "report",
        "when": "always",
        "dependencies": [job.name for job in jobs if job.stage is Stage.TEST],
        "script": [
            "harness summary results >summary.md",
            "harness kcidb results --output kcidb.json",
        ],
        "artifacts": {"when": "always", "paths": ["summary.md", "kcidb.json"]},
    }
    return yaml.safe_dump(pipeline, sort_keys=False, width=1000)


def _gitlab_job(job: Job) -> dict[str, Any]:
    downloads = {"key": f"{NAME}-downloads", "paths": [f"{CACHE}/downloads"]}
    if job.stage is Stage.BUILD:
        ccache = {"key": f"{NAME}-ccache-{job.profile}", "paths": [f"{CACHE}/ccache"]}
        return {
            "stage": job.stage.value,
            "script": [job.command],
            "cache": [downloads, ccache | {"when": "always"}],
            # Also when one position does not build: the others are there.
            "artifacts": {
                "when": "always",
                "expire_in": "1 day",
                "paths": [f"{CACHE}/objects"],
            },
        }
    return {
        "stage": job.stage.value,
        "tags": ["kvm"],
        "needs": [job.build],
        # A kernel that does not build is a verdict, and it is the test job that gives it.
        "when": "always",
        "script": [job.command],
        "cache": [downloads | {"policy": "pull"}],
        "artifacts": {
            "when": "always",
            "expire_in": "30 days",
            "paths": [job.results],
            "reports": {"junit": f"{job.results}/*/junit.xml"},
        },
    }
