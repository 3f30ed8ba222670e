# SPDX-License-Identifier: GPL-2.0-only
"""How many CPUs may be used: affinity, and the quotas of control groups of both versions."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from trees import write

from harness.base import cpus
from harness.base.cpus import usable_cpus
from harness.cli.main import _parser
from harness.cli.options import parallel_cells
from harness.kernel.worktree import tree_count


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A host of 64 CPUs; its control groups are below this directory, and ``own`` names ours."""
    monkeypatch.setattr("os.sched_getaffinity", lambda _pid: set(range(64)))
    monkeypatch.setattr(cpus, "_CGROUPS", tmp_path / "cgroup")
    monkeypatch.setattr(cpus, "_OWN", tmp_path / "own")
    monkeypatch.delenv("HARNESS_TREES", raising=False)
    return tmp_path


@pytest.mark.parametrize(
    ("own", "files", "usable"),
    [
        ("0::/\n", {"cgroup/cgroup.procs": ""}, 64),
        ("0::/\n", {"cgroup/cpu.max": "max 100000\n"}, 64),
        ("0::/\n", {"cgroup/cpu.max": "200000 100000\n"}, 2),
        ("0::/\n", {"cgroup/cpu.max": "250000 100000\n"}, 3),
        ("0::/\n", {"cgroup/cpu.max": "10000 100000\n"}, 1),
        ("0::/\n", {"cgroup/cpu.max": "9900000 100000\n"}, 64),
        ("0::/\n", {"cgroup/cpu.max": "damaged\n"}, 64),
        ("0::/a/b\n", {"cgroup/a/b/cpu.max": "max 100000\n", "cgroup/a/cpu.max": "4 1\n"}, 4),
        ("0::/a/b\n", {"cgroup/a/b/cpu.max": "8 1\n", "cgroup/a/cpu.max": "max 1\n"}, 8),
        # A container that sees its own group as the top, and the host's name for it.
        ("0::/docker/1234\n", {"cgroup/cpu.max": "3 1\n"}, 3),
        ("0::/../other\n", {"cgroup/cpu.max": "3 1\n", "other/cpu.max": "1 1\n"}, 3),
        ("damaged\n", {}, 64),
        ("", {}, 64),
    ],
)
def test_quota_of_version_2(host: Path, own: str, files: dict[str, str], usable: int) -> None:
    write(host, {"own": own} | files)
    assert usable_cpus() == usable


def v1(directory: str, quota: int, period: int = 100000) -> dict[str, str]:
    return {
        f"cgroup/{directory}/cpu.cfs_quota_us": f"{quota}\n",
        f"cgroup/{directory}/cpu.cfs_period_us": f"{period}\n",
    }


@pytest.mark.parametrize(
    ("own", "files", "usable"),
    [
        ("3:cpu:/\n0::/\n", v1("cpu", -1), 64),
        ("3:cpu:/\n0::/\n", v1("cpu", 10000), 1),
        ("9:memory:/x\n3:cpu,cpuacct:/job\n", v1("cpu,cpuacct/job", 200000), 2),
        ("3:cpu,cpuacct:/job\n", v1("cpu/job", 600000), 6),
        ("3:cpuacct,cpu:/docker/1234\n", v1("cpuacct,cpu", 200000), 2),
        ("4:cpuset:/x\n", v1("cpuset/x", 100000), 64),
        ("3:cpu:/\n", v1("cpu", 100000, period=0), 64),
    ],
)
def test_quota_of_version_1(host: Path, own: str, files: dict[str, str], usable: int) -> None:
    write(host, {"own": own} | files)
    assert usable_cpus() == usable


def test_host_without_control_groups_has_its_cpus(host: Path) -> None:
    assert usable_cpus() == 64


def test_affinity_limits_what_is_used() -> None:
    (first, *_) = os.sched_getaffinity(0)
    program = "from harness.base.cpus import usable_cpus; print(usable_cpus())"
    words = ["taskset", "-c", str(first), sys.executable, "-c", program]
    assert subprocess.run(words, check=True, capture_output=True, text=True).stdout == "1\n"


def test_trees_and_cells_follow_the_quota(host: Path) -> None:
    args = _parser().parse_args(["matrix"])
    assert (tree_count(), parallel_cells(args)) == (16, 32)
    write(host, {"own": "0::/\n", "cgroup/cpu.max": "800000 100000\n"})
    assert (tree_count(), parallel_cells(args)) == (2, 4)
