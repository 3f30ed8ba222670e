# SPDX-License-Identifier: GPL-2.0-only
"""KTAP, read by the harness and by the kernel's own parser: the harness is never more content.

``tools/testing/kunit/kunit_parser.py`` and the logs that it is tested with come from the kernel
tree that is under test.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from harness.kernel.build import KernelBuild
from harness.kernel.worktree import work_tree
from harness.results.ktap import parse_ktap
from harness.run.pipeline import Pipeline

pytestmark = [pytest.mark.machinery, pytest.mark.profiles("default")]

STRICTER = {
    "test_is_test_passed-missing_plan.log": "there is no plan line",
    "test_is_test_passed-no_tests_no_plan.log": "there is no test",
    "test_output_isolated_correctly.log": "there is no plan line",
    "test_output_with_prefix_isolated_correctly.log": "there is no plan line",
}
"""The kernel's logs that its parser is content with and the harness is not, and why: it wants a
plan of the outermost tests, without which nobody knows whether some are missing, and tests below a
header."""

# What else is meant to differ; generated output has some of each:
#   - numbers: a result without one is read, and an error, as is one out of order; the kernel's
#     parser passes over the first, and counts the second as an error that fails nothing;
#   - "Bail out!", which the kernel's parser does not know, is an error;
#   - "# TIMEOUT" and "# ERROR" are failures whatever stands before them;
#   - "# skip" in other spellings skips a test that is "ok" otherwise, and a test whose plan has no
#     tests ("1..0", with or without SKIP) is an error;
#   - results behind the last planned one, and before the version line, are read as well.

_PEER = """
import io, json, sys
sys.path.insert(0, sys.argv[1])
import kunit_parser
from kunit_printer import Printer
quiet = Printer(output=io.StringIO())
kunit_parser.stdout = quiet
def leaves(test):
    if not test.subtests:
        return [(test.name, test.status.name)]
    below = [leaf for sub in test.subtests for leaf in leaves(sub)]
    return below + [(test.name, test.status.name)]
found = {}
for name, text in json.load(sys.stdin).items():
    test = kunit_parser.parse_run_tests(text.splitlines(), quiet)
    found[name] = {"status": test.status.name, "results": leaves(test)[:-1]}
json.dump(found, sys.stdout)
"""


@dataclass(frozen=True)
class Peer:
    """The kernel's parser, and the logs that it is tested with."""

    kunit: Path
    logs: Mapping[str, str]

    def read(self, texts: Mapping[str, str]) -> dict[str, dict[str, object]]:
        done = subprocess.run(
            [sys.executable, "-B", "-c", _PEER, self.kunit],
            input=json.dumps(texts),
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
        )
        found: dict[str, dict[str, object]] = json.loads(done.stdout)
        return found


@pytest.fixture(scope="module")
def peer(pipeline: Pipeline, shipped_kernel: KernelBuild) -> Iterator[Peer]:
    commit = shipped_kernel.commit
    source, profile = pipeline.source, pipeline.target.profile
    with work_tree(source, commit, pipeline.store, profile=profile) as tree:
        kunit = tree / "tools" / "testing" / "kunit"
        logs = {path.name: path.read_text() for path in sorted(kunit.glob("test_data/*.log"))}
        assert len(logs) > 15, f"{kunit} has no logs"
        yield Peer(kunit, logs)


def green(text: str) -> bool:
    found = parse_ktap(text)
    return bool(found) and all(result.ok for result in found)


def test_harness_is_as_content_with_the_kernels_own_logs(peer: Peer) -> None:
    theirs = peer.read(peer.logs)
    for name, text in peer.logs.items():
        content = theirs[name]["status"] in ("SUCCESS", "SKIPPED")
        if name in STRICTER:
            assert not green(text), name
            assert STRICTER[name] in str(parse_ktap(text)), name
        else:
            assert green(text) == content, (name, theirs[name], parse_ktap(text))


def test_every_result_of_the_kernels_own_logs_is_there(peer: Peer) -> None:
    outcomes = {"SUCCESS": "passed", "FAILURE": "failed", "SKIPPED": "skipped"}
    theirs = peer.read(peer.logs)
    for name, text in peer.logs.items():
        mine = [(result.name, result.outcome) for result in parse_ktap(text)]
        for test, status in theirs[name]["results"]:  # type: ignore[attr-defined]
            if test and status in outcomes:
                assert (test, outcomes[status]) in mine, (name, test, status, mine)


LINES = (
    "ok {n} {name}",
    "ok {n} - {name}",
    "not ok {n} {name}",
    "ok {n} {name} # SKIP why",
    "ok {n} # SKIP {name}",
    "not ok {n} {name} # SKIP why",
    "ok {n} {name} # skip why",
    "not ok {n} {name} # skip why",
    "ok {n} {name} # XFAIL why",
    "not ok {n} {name} # XFAIL why",
    "not ok {n} {name} # TODO why",
    "ok {n} {name} # TIMEOUT 3",
    "ok - {name}",
    "not ok - {name}",
    "ok {n}",
    "not ok {n}",
    "# a comment",
    "random: crng init done",
    "Bail out! no memory",
)


def generated(rng: random.Random, parent: str = "t") -> list[str]:
    """Return lines of KTAP that are mostly right; tests have longer names the deeper they are."""
    depth = len(parent) - 1
    count = rng.randint(0 if rng.random() < 0.1 else 1, 4)
    plan = count + (rng.choice((-1, 1)) if rng.random() < 0.15 else 0)
    lines = ["KTAP version 1"] if depth == 0 or rng.random() < 0.8 else []
    if depth:
        lines.append(f"# Subtest: {parent}")
    if rng.random() < 0.9:
        lines.append(f"1..{max(plan, 0)}")
    for number in range(1, count + 1):
        if depth < 2 and rng.random() < 0.3:
            lines += ["    " + line for line in generated(rng, f"{parent}{number}")]
        line = rng.choice(LINES[:2] if rng.random() < 0.6 else LINES)
        if rng.random() < 0.97:
            wrong = rng.random() < 0.03
            lines.append(line.format(n=number + wrong, name=f"{parent}{number}"))
    return lines


def test_harness_is_never_more_content_than_the_kernels_parser(peer: Peer) -> None:
    rng = random.Random(17)  # noqa: S311 - it must be the same again
    stamps = ("", "[    1.250000] ", "[    1.250000][    T1] ")
    texts = {}
    for number in range(3000):
        stamp = rng.choice(stamps)
        texts[str(number)] = "".join(f"{stamp}{line}\n" for line in generated(rng))
    theirs = peer.read(texts)
    mine = {number for number, text in texts.items() if green(text)}
    content = {
        number for number, read in theirs.items() if read["status"] in ("SUCCESS", "SKIPPED")
    }
    assert not mine - content, texts[min(mine - content)]
    assert len(mine) > 100
