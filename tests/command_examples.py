# SPDX-License-Identifier: GPL-2.0-only
"""The examples of the documents and of every ``--help``, and how each of them is run.

``tests/unit/test_examples.py`` runs what takes no machine, ``tests/project/test_examples.py`` what
takes one.  An example that is in none of the tables here is a failure.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.cli import main
from harness.run.cell import pytest_environment

ROOT = Path(__file__).resolve().parents[1]

DEADLINE_S = 900.0
"""Seconds for one example; it only ends what hangs."""

HOW_TO = sorted((ROOT / "docs" / "howto").glob("*.md"))

COMMANDS = r"(?:harness |scripts/|git clone |cd )"

ECHO = '; echo "exit code $?"'
"""How the documents show an exit code; the examples are known without it."""


def in_help() -> list[str]:
    """Return the examples below the help of the command and of its subcommands."""
    parser = main._parser()
    (commands,) = (action for action in parser._actions if isinstance(action.choices, dict))
    texts = [parser.epilog, *(command.epilog for command in commands.choices.values())]
    found = []
    for text in texts:
        # Up to the first empty line; what a line does stands behind several blanks.
        lines = text.partition("\n\n")[0].splitlines()[1:]
        found += [re.split(r" {2,}", line.strip())[0] for line in lines]
    return found


DOCUMENTS = ("README.md", "docs/tutorial.md", *(f"docs/howto/{p.name}" for p in HOW_TO))
"""What people type things from, below the top of the checkout."""


def in_documents() -> list[str]:
    """Return the command lines of the documents: in their blocks, at the top, and in tables."""
    found: list[str] = []
    for name in DOCUMENTS:
        text = (ROOT / name).read_text()
        for language, block in re.findall(r"^ *```(\w*)\n(.*?)^ *```$", text, re.M | re.S):
            if language:
                continue
            joined = block.replace("\\\n", " ")
            typed = re.findall(r"^ *\$ (.*)", joined, re.M)
            # A block that shows no output goes without the dollars.
            found += typed or re.findall(rf"^({COMMANDS}.*)", joined, re.M)
        found += re.findall(r"^    (scripts/\w+) ", text, re.M)
        found += re.findall(rf"^\| `({COMMANDS}[^`]*)` \|", text, re.M)
    return [re.sub(r" {2,}", " ", line.removesuffix(ECHO)) for line in found]


@dataclass(frozen=True)
class Run:
    """How an example is run.

    :param options: further options that make it a short one; of two the later one counts.
    :param pytest: further arguments behind ``--``.
    :param codes: the exit codes that it may end with where it is run.
    :param says: what it prints among other things.
    """

    options: str = ""
    pytest: str = ""
    codes: tuple[int, ...] = (0,)
    says: str = ""

    def command_of(self, example: str) -> str:
        """Return the shell command line that is run for *example*."""
        head, _, tail = example.partition(" -- ")
        behind = " ".join(filter(None, (tail, self.pytest)))
        return " ".join(filter(None, (head, self.options, f"-- {behind}" if behind else "")))


_CHECKED = {"codes": (1, 2), "says": '"tool": "harness apply"'}
"""What a check comes to in a tree to which the series does not apply."""

_NO_SCHEDULE: Any = {"codes": (2,), "says": "cannot read"}
"""What comes of a schedule that nobody kept."""

WITHOUT_MACHINE = {
    "git config b4.review-perpatch-check-cmd 'harness check-patch'": Run(),
    "git config b4.review-series-check-cmd 'harness check-series'": Run(),
    # 3 where the host lacks something, or where no guest runs under KVM.
    "harness kernels": Run(),
    "harness cluster keys ~/cluster-keys": Run(says="cluster-keys: who has them"),
    "harness init mysuite --kernel ~/linux --series v4.mbx": Run(),
    "harness init mysuite --kernel 7.0.13": Run(),
    "harness init mysuite --example": Run(says="mysuite/suite.yaml"),
    "harness completion bash >~/.harness.bash": Run(),
    "harness completion zsh >~/_harness": Run(),
    "harness man >~/harness.1": Run(),
    "export HARNESS_DOWNLOADS=~/packages": Run(),
    "export HARNESS_MIRRORS=https://deb.debian.org/debian": Run(),
    "harness doctor": Run(codes=(0, 3)),
    "harness doctor --arch aarch64": Run(codes=(0, 3), says="qemu-system-aarch64"),
    "harness doctor --accel kvm": Run(codes=(0, 3)),
    "harness doctor --sandbox require": Run(codes=(0, 3), says="sandbox"),
    "harness doctor --qemu /usr/bin/qemu-system-x86_64": Run(codes=(0, 3)),
    "harness fetch --kernel ~/linux --base v7.0": Run("--series none"),
    "harness features": Run("--kernel ~/linux --series none"),
    "harness report": Run(),
    "harness report results/20261124-104716": Run(),
    "harness summary results/latest": Run(),
    'harness summary results >>"$GITHUB_STEP_SUMMARY"': Run(),
    "harness kcidb results --output kcidb.json": Run(),
    "harness kcidb results --origin mylab --tree mainline --output report.json": Run(),
    "harness kcidb results --url https://example.com/nightly/42": Run(),
    "harness kcidb results/latest": Run(),
    "harness plan --format github --positions 0..11 --profile debug --per-job 4 -- -k module": Run(
        says="test-debug-p08-p11"
    ),
    "harness plan --format github --positions 11 --profile default --accel kvm": Run(),
    "harness plan --format github --stage build": Run("--positions 0..11"),
    "harness plan --format github --stage build --positions 9..11 --profile default": Run(),
    "harness plan --format github --kernels 7.0.13:0 7.2.13": Run(
        says="pair-default-7-0-13-0-to-7-2-13"
    ),
    "harness plan --format gitlab --accel kvm": Run("--positions 0..11"),
    "harness history": Run(),
    "harness history --keep 500": Run(),
    "harness history bad": Run(),
    "harness history figures boot_to_ssh": Run(),
    "harness history flaky": Run(),
    "harness history test module": Run(),
    "harness cache list": Run(),
    "harness cache prune": Run(),
    "harness cache prune --max-gib 10": Run(),
    "harness cache prune --unused-days 14": Run(),
    "harness clean": Run(),
    "harness clean --all": Run(),
    # The tree here is a tiny one: no patch applies to it (2), and it does not build (1).
    "harness check-patch 0005-mm-Defer.patch": Run("--kernel ~/linux", **_CHECKED),
    "harness check-patch --series v4.mbx -- -k module <mail": Run("--kernel ~/linux", **_CHECKED),
    "harness check-series --positions 0..3 --profile debug --series v4.mbx": Run(
        "--kernel ~/linux --profile default", **_CHECKED
    ),
    "harness minimize failed.json --test test_everything_at_once": Run(**_NO_SCHEDULE),
    "harness minimize failed.json --test test_everything_at_once --profile debug --tries 3": Run(
        **_NO_SCHEDULE
    ),
    "harness verdict --kernel ~/linux"
    " --test 'test_module.py::test_idle_module_can_be_unloaded[0]'": Run(
        codes=(125,), says="no verdict: does not build"
    ),
    "harness bisect --test test_quiesce_is_gone --kernel ~/linux --range v7.0..HEAD": Run(
        codes=(2,), says="has no verdict: does not build"
    ),
}
"""Run by unit tests, in a directory where the files that they name are."""

_IDLE = "-k idle"
_HERE = "--position 11 --profile default"
_CELL = "--positions 11 --profile default --fresh"

WITH_MACHINE = {
    "harness fetch": Run(),
    "harness features --kernel 7.3.4 --series none": Run("--kernel 7.0.13"),
    "harness config": Run(),
    "harness config --profile lockdep": Run("--profile default"),
    "harness config --profile lockdep --explain PROVE_LOCKING": Run("--profile default"),
    "harness config --explain KASAN": Run(),
    "harness config --profile debug --explain KASAN_VMALLOC": Run("--profile default"),
    "harness build": Run(),
    "harness build --position 5 --profile debug": Run(_HERE),
    "harness build --positions 0..11": Run("--positions 0,11"),
    "harness run": Run(pytest=_IDLE),
    "harness run -- -k module -x": Run(),
    "harness run --json out.json": Run(pytest=_IDLE),
    "harness run --sandbox require": Run(pytest=_IDLE),
    "harness run --profile lockdep": Run("--profile default", _IDLE),
    "harness run --position 0": Run(pytest=_IDLE, codes=(1,)),
    "harness run --position 3 --expected": Run("--position 0", _IDLE),
    "harness run --position 0 --expected -- -k 'idle or holes'": Run(),
    "harness run --position 0 -- -k test_module": Run(pytest=_IDLE, codes=(1,)),
    "harness run --position 9 --profile debug": Run(_HERE, _IDLE),
    # 3 where KVM does not work.
    "harness run --accel kvm": Run(pytest=_IDLE, codes=(0, 3)),
    "harness run --kernel ~/linux --series v4.mbx": Run(pytest=_IDLE),
    "harness run --kernel ~/linux --series v4.mbx -- -k test_module": Run(pytest=_IDLE),
    "harness run --kernel ~/linux --base v7.0 --series v4.mbx": Run(pytest=_IDLE),
    "pytest tests/guest -k 'idle or holes'": Run(),
    "harness matrix": Run(_CELL, _IDLE),
    "harness matrix --json out.json -- -k module": Run(_CELL, _IDLE),
    "harness matrix --positions 0,5,9..11 --profile default --keep-going": Run(
        "--positions 0,11", _IDLE
    ),
    "harness run --seed 17 --races 60 -- -k race": Run("--races 1"),
    "harness bugs --kernels 7.0.13:0 7.0.13:11 7.2.13 7.3.4": Run(
        "--kernels 7.0.13:11", says="bugs on 1 kernel"
    ),
    "harness compat --kernels 7.0.13:0 7.0.13:11 7.2.13 7.3.4": Run(
        "--kernels 7.0.13:0 7.0.13:11", says="4 pairs: 4 carried; none unexpected"
    ),
    "harness check-series v4.mbx": Run("--positions 11", _IDLE),
    "harness nightly": Run("--config ~/nightly.yaml"),
    "harness nightly --config /tmp/two.yaml": Run("--config ~/nightly.yaml"),
    "harness nightly --config ~/nightly.yaml --results /var/lib/harness/today": Run(
        "--results today"
    ),
    "harness boot --timing": Run(),
}
"""Run by guest tests, on the kernels that these have: positions 0 and 11, profile default."""

AT_A_TERMINAL = {
    "harness boot": Run(),
    "harness boot --gdb": Run(says="target remote"),
    "harness boot --position 0 --gdb": Run(says="7.0.13-p00 runs"),
    "harness boot --position 10 --profile debug": Run(_HERE),
}
"""The same, at a terminal, until Ctrl-] ends them."""

_DOWNLOADS = "downloads 150 MB"
_TUTORIAL = "test_tutorial.py runs it, with what comes before it"
_KERNELS = "builds further kernels, for minutes"

_CLUSTER = "needs a scheduler; tests/unit/test_cluster.py has one"

NOT_RUN = {
    "scripts/run": "sets a host up; CI runs it",
    "scripts/test": "runs this test",
    "git clone <this repository> luo-harness && cd luo-harness": "says where, in words",
    "cd mysuite": _TUTORIAL,
    "harness init mysuite --kernel 7.0.13 --series v1.mbx": _TUTORIAL,
    "harness run -- -k dumpable": _TUTORIAL,
    "harness matrix --profile default": _TUTORIAL,
    ". .venv/bin/activate": "sets a host up; CI runs it",
    "python3 -m venv ~/harness && . ~/harness/bin/activate": "downloads",
    "pip install luo_harness-0.1.0-py3-none-any.whl": "downloads",
    "scripts/setup": "sets a host up; CI runs it",
    "scripts/setup --arch aarch64": "sets a host up; CI runs it",
    "harness fetch --kernel next": "clones linux-next",
    "apt-get download linux-source-6.12": _DOWNLOADS,
    "sha256sum linux-source-6.12_*.deb": _DOWNLOADS,
    "stat -c %s linux-source-6.12_*.deb": _DOWNLOADS,
    "harness matrix --profile lockdep --profile default": "the reader writes that profile",
    "harness run --suite examples/get-options": _KERNELS,
    "harness run --cc gcc-14": "needs that compiler",
    "harness worker tcp://127.0.0.1:8786": _CLUSTER,
    "harness worker tls://build1:8786 --tls ~/cluster-keys": _CLUSTER,
    "harness worker tls://build1:8786 --tls ~/cluster-keys --guests 4": _CLUSTER,
    "harness cluster status --cluster tls://build1:8786 --tls ~/cluster-keys": _CLUSTER,
    "harness matrix --cluster tls://build1:8786 --tls ~/cluster-keys": _CLUSTER,
    "harness matrix --cluster local:2": "builds kernels in caches of the workers' own, for minutes",
    "dask scheduler --protocol tls --tls-ca-file ~/cluster-keys/ca.pem"
    " --tls-cert ~/cluster-keys/cert.pem --tls-key ~/cluster-keys/key.pem --no-dashboard": _CLUSTER,
    "harness matrix --keep-going --profile debug --profile default": _KERNELS,
    "harness matrix --suite examples/get-options --series /tmp/broken --profile default"
    " --keep-going -- -k 'range or stored'": _KERNELS,
    "harness compat": _KERNELS,
    "harness compat --kernels 7.0.13:11 7.0.13:11+file-fields-swapped": _KERNELS,
    "harness compat --from 7.2.13 --to ~/linux --json out.json": _KERNELS,
    "harness bugs": _KERNELS,
    "harness bugs --kernels 7.0.13:0 7.0.13:11 7.3.4": _KERNELS,
    "harness bugs --kernels 7.0.13:11 7.0.13:11+finish-checks-reserved": _KERNELS,
    "harness bugs --kernels 7.0.13:11 7.0.13:11+flb-retrieve-once+finish-checks-reserved": _KERNELS,
    "harness bugs --profile debug --kernels 7.0.13:11 7.0.13:11+retrieve-holds-sessions": _KERNELS,
    "harness bugs --kernels ~/linux --profile debug --json out.json": _KERNELS,
    "harness bugs --markdown docs/bugs.md": _KERNELS,
    "harness compat --kernels 7.2.13 7.3.4 --markdown docs/compat.md": _KERNELS,
    "harness run --kernel 7.2.13 --series none --to 7.3.4 -- -m two_kernels": _KERNELS,
    "harness coverage": _KERNELS,
    'harness coverage --min 95 -- -k "not module"': _KERNELS,
    "harness check-patch --suite examples/get-options"
    " examples/get-options/series/0001-*.patch -- -k range": _KERNELS,
    "harness bisect --suite examples/get-options --test"
    " 'test_range_past_the_end_is_counted_as_far_as_stored[1-999]'": _KERNELS,
    "harness matrix --suite examples/get-options --profile default": _KERNELS,
    "harness mutants": _KERNELS,
    "harness mutants --generated --list 'file.*'": _KERNELS,
    "harness mutants --generated --list 'luo_session.luo_session_remove.*'": _KERNELS,
    "harness mutants --generated --shard 2/3": _KERNELS,
    "harness mutants --table docs/mutants.md": _KERNELS,
    "harness mutants flb-list-not-initialized compatible-unbounded": _KERNELS,
    "harness mutants duplicate-session token-reused": _KERNELS,
    "harness bisect --test 'test_module.py::test_idle_module_can_be_unloaded[0]'": _KERNELS,
    "harness bisect --test test_first_use_of_flbs_on_all_cpus --tries 5 --profile debug": _KERNELS,
    "harness bisect --test test_memfd_survives_a_live_update --series /tmp/hidden": _KERNELS,
    "harness bisect --test test_quiesce_is_gone --good 11 --bad 3": _KERNELS,
    "harness bisect --test test_unregistering_a_handler_unregisters_its_flbs --kernel ~/linux"
    " --range v7.0.13..master": _KERNELS,
    "git bisect start --term-old=busy --term-new=free master v7.0.13": _KERNELS,
    "git bisect run harness verdict --fixed --kernel . --results /tmp/verdicts"
    " --test test_registering_works_while_an_unrelated_session_exists": _KERNELS,
    "git bisect run harness verdict --kernel . --test test_quiesce_is_gone"
    " --results /tmp/verdicts": _KERNELS,
}
"""Only read by the command's parser; and why."""


def environment(home: Path, cache: Path) -> dict[str, str]:
    """Return the environment of an example: *home* is the user's, and no setting gets at it."""
    return {
        **os.environ,
        **pytest_environment(),
        "CC": "",
        "HOME": str(home),
        "HARNESS_CACHE": str(cache),
        "HARNESS_HISTORY": str(home / "history.sqlite"),
        "GITHUB_STEP_SUMMARY": str(home / "summary.md"),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
    }


def run(example: str, how: Run, home: Path, cache: Path) -> subprocess.CompletedProcess[str]:
    """Run an example by a shell in *home*; its errors are among its output."""
    return subprocess.run(
        ["sh", "-c", how.command_of(example)],
        cwd=home,
        env=environment(home, cache),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=DEADLINE_S,
    )


def finished(*words: str | Path, **options: Any) -> str:
    """Run a program that must end well; return what it printed."""
    done = subprocess.run(
        words,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=DEADLINE_S,
        **options,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout
